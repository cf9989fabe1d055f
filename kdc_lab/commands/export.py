"""``kdc export``: a network to an ONNX file that says what it is."""

from __future__ import annotations

import argparse
from pathlib import Path

from kdc_core.commands.arguments import check_output, natural, output
from kdc_core.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``kdc export``."""
    parser.add_argument(
        "source", type=Path, metavar="FILE",
        help="checkpoint of kdc train, or a float32 ONNX file of kdc export",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=output, metavar="FILE",
        help="the ONNX file; default: the checkpoint's name with .onnx",
    )  # fmt: skip
    parser.add_argument(
        "--long-side", type=natural, metavar="PIXELS",
        help="longest side that the file will ask for; default: as trained",
    )  # fmt: skip
    parser.add_argument(
        "--octaves", type=int, choices=(1, 2, 3),
        help="sizes at which it looks at a picture: 2 for a longest side of up to 768, 3 for "
        "larger ones; default: as trained",
    )  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Export and compare with torch; a file that differs is not written."""
    from kdc_core.engines import check_long_side
    from kdc_lab.convert import export

    if args.long_side is not None:
        check_long_side(args.long_side)
    if not args.source.is_file():
        raise InputError(f"{args.source}: no such file")
    out = args.out or args.source.with_suffix(".onnx")
    check_output(out, [args.source])
    difference = export(args.source, out, args.long_side, args.octaves)
    size = out.stat().st_size / 1e6
    print(f"{out}: {size:.1f} MB, largest difference to torch {difference:.1e}")
    return 0
