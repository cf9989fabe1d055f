"""``kdc quantize``: an exported ONNX file in int8, for CPUs."""

from __future__ import annotations

import argparse
from pathlib import Path

from kdc_core.commands.arguments import add_calibration, check_output, output
from kdc_core.commands.wiring import calibration
from kdc_core.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``kdc quantize``."""
    parser.add_argument("model", type=Path, help="written by kdc export")
    add_calibration(parser, needed=True)
    parser.add_argument(
        "--bits", type=int, choices=(7, 8), default=7,
        help="of the weights: 8 are more exact, and for CPUs with VNNI alone; default: 7",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=output, metavar="FILE", help="default: the model's name with _int7 or _int8"
    )


def main(args: argparse.Namespace) -> int:
    """Quantise and write; only a whole file appears at the path."""
    from kdc_core.engines import read_info, to_int8_for_cpu
    from kdc_core.io import atomic_write, open_source

    if not args.model.is_file():
        raise InputError(f"{args.model}: no such model file")
    out = args.out or args.model.with_stem(f"{args.model.stem}_int{args.bits}")
    if out.suffix != ".onnx":
        raise InputError(f"{out}: expected the name of an .onnx file")
    info = read_info(args.model)
    source = open_source(args.images)
    check_output(out, (args.model, *source.reads))
    images = calibration(source, args.count, info)
    content = to_int8_for_cpu(args.model, images, args.bits)
    atomic_write(out, content)
    print(f"{out}: {len(content) / 1e6:.1f} MB, ranges from pictures of {info.longest} pixels")
    return 0
