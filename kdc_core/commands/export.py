"""``kdc export``: a checkpoint to an ONNX file that says what it is."""

from __future__ import annotations

import argparse
from pathlib import Path

from kdc_core.commands.options import natural


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``kdc export``."""
    parser.add_argument("checkpoint", type=Path, help="written by kdc train")
    parser.add_argument(
        "--out", type=Path, metavar="FILE",
        help="the ONNX file; default: the checkpoint's name with .onnx",
    )  # fmt: skip
    parser.add_argument(
        "--long-side", type=natural, metavar="PIXELS",
        help="longest side that the file will ask for; default: as trained",
    )  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Export and compare with torch; a file that differs is not written."""
    from kdc_core.engines import check_long_side
    from kdc_core.engines.export import export

    if args.long_side is not None:
        check_long_side(args.long_side)
    if not args.checkpoint.is_file():
        raise ValueError(f"{args.checkpoint}: no such checkpoint")
    out = args.out or args.checkpoint.with_suffix(".onnx")
    difference = export(args.checkpoint, out, args.long_side)
    size = out.stat().st_size / 1e6
    print(f"{out}: {size:.1f} MB, largest difference to torch {difference:.1e}")
    return 0
