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

CALIBRATED = ", calibrated with the images of that time; --force calibrates it again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kdc build-engine``."""
    parser.add_argument(
        "--model", type=Path, metavar="FILE", help="ONNX file; default: the weights in the package"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp16", help="default: %(default)s"
    )
    parser.add_argument(
        "--long-side",
        type=natural,
        metavar="PIXELS",
        help="longest side of the network's input; default: as trained",
    )
    add_calibration(parser, needed=False)
    parser.add_argument(
        "--out",
        type=output,
        metavar="DIR",
        help="folder of the engine; default: $KDC_ENGINES, or the user's cache",
    )
    parser.add_argument("--force", action="store_true", help="build it again if it exists")


def main(args: argparse.Namespace) -> int:
    """Build the engine unless it exists."""
    from kdc_core.cuda import gpu_name, load_tensorrt
    from kdc_core.engines import read_info, trt_build
    from kdc_core.io import open_source

    model = args.model or default_model()
    if not model.is_file():
        raise InputError(f"{model}: no such model file")
    info = read_info(model).at(args.long_side)
    check_long_side(info.longest)
    if args.precision == "int8" and not args.images:
        raise InputError("int8 needs images that resemble the camera's: --images FOLDER")
    trt = load_tensorrt()
    wanted = trt_build.engine_key(trt, model, gpu_name(), args.precision, info.longest)
    path = trt_build.engine_path(wanted, args.out)
    if not args.force and trt_build.cached(wanted, args.out):
        print(f"{path} exists already{CALIBRATED if args.precision == 'int8' else ''}")
        return 0
    start = time.perf_counter()
    images = (
        calibration(open_source(args.images), args.count, info) if args.precision == "int8" else ()
    )
    with tqdm(unit="step", leave=False, disable=None) as bar:
        plan = trt_build.build_cached(trt, wanted, model, images, args.out, _watch(bar))
    print(
        f"{path}: {len(plan) / 1e6:.1f} MB, {args.precision} for {wanted.gpu}, {wanted.tensorrt}, "
        f"{time.perf_counter() - start:.0f} s"
    )
    return 0


def _watch(bar: tqdm) -> ProgressCallback:
    def watch(phase: str, done: int, steps: int) -> None:
        bar.set_description_str(phase[:40], refresh=False)
        bar.total, bar.n = steps, done
        bar.refresh()

    return watch
