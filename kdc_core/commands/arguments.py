"""Arguments that several commands share, and functions that parse their values."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from kdc_core.config import CentroidMode
from kdc_core.engines import ENGINES
from kdc_core.errors import InputError
from kdc_core.io import keep_apart

LARGEST = 2**31 - 1  # of a whole number: what the libraries below can count to


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the options of the network and its engine."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--engine",
        choices=("auto", *ENGINES),
        default="auto",
        help="what runs the network; default: the fastest that is installed",
    )
    group.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="ONNX file, or a checkpoint of `kdc train` for engine torch; default: the weights in "
        "the package",
    )
    group.add_argument(
        "--threads", type=threads, default=0, metavar="N", help="CPU threads; default: all cores"
    )
    group.add_argument(
        "--long-side",
        type=natural,
        metavar="PIXELS",
        help="longest side of the network's input; larger finds smaller people and takes more "
        "time; default: as trained",
    )
    group.add_argument(
        "--flip",
        action="store_true",
        help="average the network's output over the image and its mirror image, in twice the time",
    )


def add_decoder(parser: argparse.ArgumentParser, min_score: float) -> None:
    """Add the options of the decoder, with the default of ``--min-score``."""
    group = parser.add_argument_group("decoder")
    group.add_argument(
        "--centroid",
        choices=[mode.value for mode in CentroidMode],
        default=CentroidMode.WEIGHTED.value,
        metavar="MODE",
        help="which keypoints attract a person's pixels: "
        f"{', '.join(CentroidMode)}; default: %(default)s",
    )
    group.add_argument(
        "--min-score",
        type=share,
        default=min_score,
        metavar="S",
        help="leave out people whose scores are lower, 0 to 1; default: %(default)s",
    )


def add_annotated(parser: argparse.ArgumentParser) -> None:
    """Add the options of images with a COCO annotation file."""
    parser.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="folder of the images"
    )
    parser.add_argument(
        "--annotations",
        type=Path,
        required=True,
        metavar="FILE",
        help="COCO annotations of people",
    )
    parser.add_argument(
        "--limit", type=natural, default=0, metavar="N", help="use only the first N images"
    )


def add_calibration(parser: argparse.ArgumentParser, needed: bool) -> None:
    """Add the options of the images that calibrate an int8 network."""
    parser.add_argument(
        "--images",
        metavar="SOURCE",
        required=needed,
        help="for int8: a folder of images or a video that resembles the camera's images",
    )
    parser.add_argument(
        "--count",
        type=natural,
        default=64,
        metavar="N",
        help="for int8: number of these images to use; default: %(default)s",
    )


def add_stills(parser: argparse.ArgumentParser) -> None:
    """Add the option that switches tracking off."""
    parser.add_argument(
        "--stills",
        action="store_true",
        help="process each frame independently: no tracking, ids are per frame",
    )


def check_output(path: Path, read: Iterable[Path | None] = ()) -> None:
    """Check before the work begins that a file can be written at its end.

    Args:
        path: the file.
        read: files that must not be overwritten; None is ignored.

    Raises:
        InputError: it cannot be written, or it is one of the files in ``read``.
    """
    nearest = next(place for place in (path, *path.parents) if place.exists())
    if path.is_dir():
        raise InputError(f"{path}: expected a file, this is a folder")
    if nearest != path and not nearest.is_dir():
        raise InputError(f"{path}: expected a folder, {nearest} is a file")
    if not os.access(nearest, os.W_OK):
        raise InputError(f"{path}: no permission to write to {nearest}")
    keep_apart([path], filter(None, read))


def refuse_network(args: argparse.Namespace, instead: str) -> None:
    """Refuse options of the network because the option ``instead`` runs none.

    Raises:
        InputError: an option of the network was given.
    """
    given = {"--engine": args.engine != "auto", "--threads": args.threads, "--flip": args.flip}
    if wrong := [name for name, value in given.items() if value]:
        raise InputError(f"{', '.join(wrong)}: not allowed with {instead}, which runs no network")


def output(text: str) -> Path:
    """Parse a path; refuse the empty text that a shell makes of a variable that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got an empty text")
    return Path(text)


def natural(text: str) -> int:
    """Parse a whole number from 0 to ``LARGEST``."""
    value = int(text) if text.isdecimal() and len(text) < 20 else -1
    if not 0 <= value <= LARGEST:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to {LARGEST}, got {text!r}")
    return value


def threads(text: str) -> int:
    """Parse a number of threads: thousands of them take longer to start than to work."""
    most = 4 * (os.cpu_count() or 1)
    if (value := natural(text)) > most:
        raise argparse.ArgumentTypeError(f"expected at most {most} on this machine, got {text}")
    return value


def amount(text: str) -> float:
    """Parse a number from 0 to 1e9: as seconds, its nanoseconds fit into 64 bits."""
    return _number(text, 1e9, "1e9")


def share(text: str) -> float:
    """Parse a number from 0 to 1."""
    return _number(text, 1.0, "1")


def _number(text: str, most: float, named: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to {named}, got {text!r}")
    return value
