"""``kdc export``: write a network as an ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path

from kdc_core.commands.arguments import check_output, natural, output
from kdc_core.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kdc export``."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="FILE",
        help="checkpoint of kdc train, or a float32 ONNX file of kdc export",
    )
    parser.add_argument(
        "--out",
        type=output,
        metavar="FILE",
        help="ONNX file to write; default: the checkpoint's name with .onnx",
    )
    parser.add_argument(
        "--long-side",
        type=natural,
        metavar="PIXELS",
        help="longest side of the network's input, stored in the file; default: as trained",
    )
    parser.add_argument(
        "--octaves",
        type=int,
        choices=(1, 2, 3),
        help="number of image scales (1, 1/2, 1/4) that the network combines: 2 for a longest side "
        "of up to 768 pixels, 3 for larger ones; default: as trained",
    )


def main(args: argparse.Namespace) -> int:
    """Export the network. The file is written only if its outputs agree with torch."""
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
