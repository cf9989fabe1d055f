"""``kdc build-engine``: build a TensorRT engine before it is needed."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tqdm import tqdm

from kdc_core.commands.arguments import add_calibration, natural, output
from kdc_core.commands.wiring import calibration
from kdc_core.engines import PRECISIONS, ProgressCallback, check_long_side, default_model
from kdc_core.errors import InputError

CALIBRATED = ", calibrated with earlier images; use --force to calibrate it again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kdc build-engine``."""
    parser.add_argument(
        "--model", type=Path, metavar="FILE", help="ONNX file; default: the weights of KDC"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp16", help="default: %(default)s"
    )
    parser.add_argument(
        "--long-side",
        type=natural,
        metavar="PIXELS",
        help="longest side of the network's input; default: the model's own value",
    )
    add_calibration(parser, needed=False)
    parser.add_argument(
        "--out",
        type=output,
        metavar="DIR",
        help="folder for the engine; default: $KDC_ENGINES, or the user's cache, where "
        "`kdc run` looks for engines",
    )
    parser.add_argument("--force", action="store_true", help="rebuild an engine that exists")


def main(args: argparse.Namespace) -> int:
    """Build the engine, or print the path of the existing one."""
    from kdc_core.cuda import gpu_name, load_tensorrt
    from kdc_core.engines import read_info, trt_build
    from kdc_core.io import open_source

    model = args.model or default_model()
    if not model.is_file():
        raise InputError(f"{model}: no such model file")
    info = read_info(model).at(args.long_side)
    check_long_side(info.longest)
    if args.precision == "int8" and not args.images:
        raise InputError("int8 needs images for calibration: name a folder with --images FOLDER")
    trt = load_tensorrt()
    key = trt_build.engine_key(trt, model, gpu_name(), args.precision, info.longest)
    path = trt_build.engine_path(key, args.out)
    if not args.force and trt_build.cached(key, args.out):
        print(f"{path} exists already{CALIBRATED if args.precision == 'int8' else ''}")
        return 0
    start = time.perf_counter()
    images = (
        calibration(open_source(args.images), args.count, info) if args.precision == "int8" else ()
    )
    with tqdm(unit="step", leave=False, disable=None) as bar:
        plan = trt_build.build_cached(trt, key, model, images, args.out, _show_progress(bar))
    print(
        f"{path}: {len(plan) / 1e6:.1f} MB, {args.precision} for {key.gpu}, {key.tensorrt}, "
        f"{time.perf_counter() - start:.0f} s"
    )
    return 0


def _show_progress(bar: tqdm) -> ProgressCallback:
    def show(phase: str, done: int, steps: int) -> None:
        bar.set_description_str(phase[:40], refresh=False)
        bar.total, bar.n = steps, done
        bar.refresh()

    return show
