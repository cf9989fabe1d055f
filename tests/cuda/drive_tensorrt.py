"""Run TensorrtEngine over a fake TensorRT and a fake libcuda; run by test_trt_build.py."""

import ctypes
import logging
import os
import sys
from pathlib import Path

import numpy as np

from tests.cuda import fake_tensorrt

sys.modules["tensorrt"] = fake_tensorrt

from kdc_core.engines.onnxruntime import OnnxRuntimeEngine  # noqa: E402
from kdc_core.engines.tensorrt import TensorrtEngine  # noqa: E402
from kdc_core.types import Frame  # noqa: E402

NAMES = ("heat", "short", "mid", "anchor", "log_sigma", "vis", "seg")


def compare(model: Path, precision: str, tolerance: float) -> None:
    """Compare frames of two sizes with ONNX Runtime on the CPU."""
    engine, reference = TensorrtEngine(model, precision=precision), OnnxRuntimeEngine(model, 1)
    rng = np.random.default_rng(0)
    for width, height in (*3 * [(160, 128)], *4 * [(96, 160)], (160, 128)):
        frame = Frame(rng.integers(0, 256, (height, width, 3), np.uint8))
        found, expected = engine(frame), reference(frame)
        assert found.letterbox == expected.letterbox and found.radius == expected.radius
        for name in NAMES:
            a, b = getattr(found, name), getattr(expected, name)
            gap = float(np.abs(a - b).max() / max(1, np.abs(b).max()))
            assert gap <= tolerance, f"{precision} {name}: {gap}"
    print(engine.name)
    engine.close()
    engine.close()


def main(model: Path) -> None:
    """Use engine files that are new, cached, damaged, and rejected."""
    fake = fake_tensorrt.libcuda = ctypes.CDLL("libcuda.so.1")
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    folder = Path(os.environ["KDC_ENGINES"])
    compare(model, "fp32", 0)
    print("graphs replayed", fake.fake_replayed())
    os.environ["KDC_FAKE_GPU"] = "capture=0"
    compare(model, "fp32", 0)
    print("graphs replayed", fake.fake_replayed())
    del os.environ["KDC_FAKE_GPU"]
    print("built", len(fake_tensorrt.built))
    plan = next(folder.glob("*.engine"))
    plan.write_bytes(plan.read_bytes()[:-1])
    compare(model, "fp32", 0)
    print("built", len(fake_tensorrt.built))
    fake_tensorrt.refuse = 1
    compare(model, "fp32", 0)
    print("built", len(fake_tensorrt.built))
    compare(model, "fp16", 0.02)
    print("built", len(fake_tensorrt.built))
    fake_tensorrt.refuse = 2
    try:
        TensorrtEngine(model, precision="fp32")
    except ValueError as error:
        print(error)
    print("leaks:", fake.fake_leaks(), "calls without a context:", fake.fake_out_of_context())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
