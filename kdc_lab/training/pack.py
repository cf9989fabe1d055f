"""Pack a training set into a few portable files: ``python -m kdc_lab.training.pack --out DIR``.

Each file holds JPEGs, label maps and people of a share of the images (see ``data.Pack``). It is
read in a second, without pycocotools and without the original files.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np

from kdc_core.errors import InputError
from kdc_lab.training.coco_reader import LoadReport, read_coco, read_negatives
from kdc_lab.training.data import Pack

log = logging.getLogger(__name__)


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for training data, which ``kdc train`` shares."""
    parser.add_argument(
        "--data",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="COCO annotation files (images in the folder 'images' beside them), or packs; "
        "5 %% of their images (id %% 20 == 7) form the tuning split",
    )
    parser.add_argument(
        "--extra",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="more such files, without a tuning split",
    )
    parser.add_argument(
        "--negatives",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="folders of images without people",
    )


def read_all(
    data: list[Path], extra: list[Path], negatives: list[Path], quality: int | None = None
) -> tuple[Pack, LoadReport]:
    """Read all sources into one pack; packs keep the tuning split with which they were made."""
    report, packs = LoadReport(), []
    for path in (*data, *extra):
        if path.suffix == ".npz":
            pack = Pack.load(path)
            report.images += len(pack)
            report.people += len(pack.area)
        else:
            pack = read_coco(path, report, holdout=path in data, quality=quality)
        packs.append(pack)
    packs += [read_negatives(folder, report, quality=quality) for folder in negatives]
    if not packs:
        raise InputError("training data is missing: give --data FILE (COCO annotations or a pack)")
    return Pack.join(packs), report


def save_pieces(pack: Pack, folder: Path, pieces: int, seed: int = 0) -> list[Path]:
    """Write the images, shuffled, as ``pieces`` files of about equal size."""
    folder.mkdir(parents=True, exist_ok=True)
    shuffled = np.random.default_rng(seed).permutation(len(pack))
    paths = []
    for number, indices in enumerate(np.array_split(shuffled, pieces), start=1):
        paths.append(folder / f"pack{number}.npz")
        pack.take(indices).save(paths[-1])
    return paths


def main(argv: list[str] | None = None) -> int:
    """Read the command line and write the packs."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_source_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="output folder of the packs")
    parser.add_argument("--pieces", type=int, default=1, help="number of files; default: 1")
    parser.add_argument(
        "--quality", type=int, default=None, help="encode all JPEGs again with this quality"
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        pack, report = read_all(args.data, args.extra, args.negatives, args.quality)
    except InputError as error:
        parser.error(str(error))
    log.info("%s", report)
    for path in save_pieces(pack, args.out, args.pieces):
        log.info("%s: %.1f MiB", path, path.stat().st_size / 2**20)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
