"""Arguments that several commands share, and the pipeline made from them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kdc_core.config import CentroidMode, DecodeConfig, ModelInfo
from kdc_core.engines import ENGINES, Engine, choose_engine, default_model, open_engine
from kdc_core.errors import InputError
from kdc_core.io import Source, keep_apart

MOST = 2**31 - 1  # of a whole number


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Which network runs on what."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--engine", choices=("auto", *ENGINES), default="auto", help="default: the fastest there is"
    )
    group.add_argument(
        "--model", type=Path, metavar="FILE",
        help="ONNX file, or a checkpoint of kdc train, which torch needs; default: the weights "
        "that come with KDC",
    )  # fmt: skip
    group.add_argument(
        "--threads", type=threads, default=0, metavar="N", help="CPU threads; default: all"
    )
    group.add_argument(
        "--long-side", type=natural, metavar="PIXELS",
        help="longest side of the network's input; default: as trained",
    )  # fmt: skip
    group.add_argument(
        "--flip", action="store_true",
        help="mean of the picture's and its mirror image's fields, in twice the time",
    )  # fmt: skip


def add_decoder(parser: argparse.ArgumentParser, min_score: float) -> None:
    """How fields become people."""
    group = parser.add_argument_group("decoder")
    group.add_argument(
        "--centroid", choices=[mode.value for mode in CentroidMode],
        default=CentroidMode.WEIGHTED.value, metavar="MODE",
        help=f"what attracts a person's pixels: {', '.join(CentroidMode)}; default: %(default)s",
    )  # fmt: skip
    group.add_argument(
        "--min-score", type=share, default=min_score, metavar="S",
        help="people below are dropped, 0 to 1; default: %(default)s",
    )  # fmt: skip


def add_annotated(parser: argparse.ArgumentParser) -> None:
    """Pictures with a COCO file."""
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="the pictures")
    parser.add_argument(
        "--annotations", type=Path, required=True, metavar="FILE", help="COCO person annotations"
    )
    parser.add_argument(
        "--limit", type=natural, default=0, metavar="N", help="only the first N pictures"
    )


def add_calibration(parser: argparse.ArgumentParser, needed: bool) -> None:
    """Pictures that the ranges of int8 are taken from."""
    parser.add_argument(
        "--images", metavar="SOURCE", required=needed,
        help="for int8: pictures like those to come, as in kdc run: a folder or a video",
    )  # fmt: skip
    parser.add_argument(
        "--count", type=natural, default=64, metavar="N",
        help="for int8: how many of them; default: %(default)s",
    )  # fmt: skip


def engine_from(args: argparse.Namespace) -> Engine:
    """Open the engine that the arguments ask for."""
    if args.model is not None and not args.model.is_file():
        raise InputError(f"{args.model}: no such model file")
    return open_engine(args.engine, args.model, args.threads, args.long_side, args.flip)


def add_stills(parser: argparse.ArgumentParser) -> None:
    """Videos without tracking."""
    parser.add_argument(
        "--stills", action="store_true",
        help="every frame of a video by itself: no ids that last, nobody behind anybody",
    )  # fmt: skip


def check_output(path: Path, read: Iterable[Path | None] = ()) -> None:
    """ValueError for a file that cannot be written in the end, or is one of those ``read``."""
    there = next(place for place in (path, *path.parents) if place.exists())
    if path.is_dir():
        raise InputError(f"{path}: expected a file, this is a folder")
    if there != path and not there.is_dir():
        raise InputError(f"{path}: expected a folder, {there} is a file")
    if not os.access(there, os.W_OK):
        raise InputError(f"{path}: you may not write there")
    keep_apart([path], filter(None, read))


def refuse_network(args: argparse.Namespace, instead: str) -> None:
    """ValueError for options of a network that is not run, because of the option ``instead``."""
    given = {"--engine": args.engine != "auto", "--threads": args.threads, "--flip": args.flip}
    if wrong := [name for name, value in given.items() if value]:
        raise InputError(f"{', '.join(wrong)}: expected without {instead}, which runs no network")


def weights_of(args: argparse.Namespace) -> Path:
    """The file that ``engine_from`` opens, as far as can be told before it tries."""
    engine = choose_engine(args.model)[0] if args.engine == "auto" else args.engine
    return args.model or default_model(engine)


def calibration(source: Source, count: int, info: ModelInfo) -> Iterator[np.ndarray]:
    """Network inputs from a folder of pictures or a video."""
    from kdc_core.engines import preprocess

    frames = islice(source, count)
    for frame in tqdm(frames, "calibration", count, unit="picture", leave=False, disable=None):
        yield preprocess(frame, info)[0]


def decode_from(args: argparse.Namespace, config: DecodeConfig | None = None) -> DecodeConfig:
    """Return the decoder's configuration: ``config`` with the options of ``add_decoder``."""
    config = config or DecodeConfig()
    return replace(config, centroid=replace(config.centroid, mode=CentroidMode(args.centroid)))


def output(text: str) -> Path:
    """A path, for argparse; not what a shell makes of a variable that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got an empty text")
    return Path(text)


def natural(text: str) -> int:
    """A number from 0 on, for argparse; not more than what all libraries can count to."""
    value = int(text) if text.isdecimal() and len(text) < 20 else -1
    if not 0 <= value <= MOST:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to {MOST}, got {text!r}")
    return value


def threads(text: str) -> int:
    """A number of threads, for argparse: thousands of them take longer to start than to work."""
    most = 4 * (os.cpu_count() or 1)
    if (value := natural(text)) > most:
        raise argparse.ArgumentTypeError(f"expected at most {most} on this machine, got {text}")
    return value


def amount(text: str) -> float:
    """A number from 0 on, for argparse; nanoseconds of so many seconds fit into 64 bits."""
    return _number(text, 1e9, "1e9")


def share(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    return _number(text, 1.0, "1")


def _number(text: str, most: float, named: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to {named}, got {text!r}")
    return value
