"""``kdc quantize``: convert an exported ONNX file to int8 for CPUs."""

from __future__ import annotations

import argparse
from pathlib import Path

from kdc_core.commands.arguments import add_calibration, check_output, output
from kdc_core.commands.wiring import calibration
from kdc_core.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kdc quantize``."""
    parser.add_argument("model", type=Path, help="float32 ONNX file of kdc export")
    add_calibration(parser, needed=True)
    parser.add_argument(
        "--bits",
        type=int,
        choices=(7, 8),
        default=7,
        help="bits of the weights: 7 works on all CPUs, 8 is more accurate but needs VNNI; "
        "default: %(default)s",
    )
    parser.add_argument(
        "--out", type=output, metavar="FILE", help="default: the model's name with _int7 or _int8"
    )


def main(args: argparse.Namespace) -> int:
    """Quantise the model and write the file atomically."""
    from kdc_core.engines import read_info, to_int8_for_cpu
    from kdc_core.io import atomic_write, open_source

    if not args.model.is_file():
        raise InputError(f"{args.model}: no such model file")
    out = args.out or args.model.with_stem(f"{args.model.stem}_int{args.bits}")
    if out.suffix != ".onnx":
        raise InputError(f"{out}: expected a file name that ends in .onnx")
    info = read_info(args.model)
    source = open_source(args.images)
    check_output(out, (args.model, *source.reads))
    images = calibration(source, args.count, info)
    content = to_int8_for_cpu(args.model, images, args.bits)
    atomic_write(out, content)
    print(f"{out}: {len(content) / 1e6:.1f} MB, calibrated with images of {info.longest} pixels")
    return 0
