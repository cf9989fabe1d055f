"""Build the emulated GPU and the fake driver once per session."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from kdc_core.config import ModelInfo
from tests.cuda import emulator


@pytest.fixture(scope="session")
def gpu(tmp_path_factory):
    """Return ``gpu(order, skipped_barrier)``, a driver for the kernels compiled by g++."""
    if shutil.which("g++") is None:
        pytest.skip("no g++: the kernels cannot be compiled for the host")
    library = emulator.build(tmp_path_factory.mktemp("kernels"))
    return lambda order=0, skipped_barrier=-1: emulator.EmulatedDriver(
        library, order, skipped_barrier
    )


@pytest.fixture(scope="session")
def libcuda(tmp_path_factory) -> Path:
    """Return the folder of a libcuda.so.1 that runs the kernels in the emulator."""
    folder = emulator.libcuda_for_pycuda(tmp_path_factory.mktemp("libcuda"))
    if folder is None:
        pytest.skip("needs PyCUDA and g++: make test-cuda-sim")
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """Write an ONNX file with our inputs, outputs and metadata, and random weights."""
    onnx = pytest.importorskip("onnx", reason="models are written with onnx")
    make, rng = onnx.helper, np.random.default_rng(0)
    weights = {
        "scale": np.float32(1 / 255),
        "stem": rng.normal(0, 0.3, (16, 3, 2, 2)),
        "middle": rng.normal(0, 0.3, (16, 16, 1, 1)),
        "body": rng.normal(0, 0.2, (188, 16, 4, 4)),
        "mask": rng.normal(0, 0.2, (1, 16, 1, 1)),
    }
    nodes = [
        make.make_node("Mul", ["image", "scale"], ["unit"]),
        make.make_node("Conv", ["unit", "stem"], ["low"], "stem", strides=[2, 2]),
        make.make_node("Relu", ["low"], ["warm"]),
        make.make_node("Conv", ["warm", "middle"], ["active"], "middle"),
        make.make_node("Conv", ["active", "body"], ["fields"], "body", strides=[4, 4]),
        make.make_node("Conv", ["active", "mask"], ["logit"], "mask"),
        make.make_node("Sigmoid", ["logit"], ["seg"]),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = make.make_graph(
        nodes,
        "tiny",
        [make.make_tensor_value_info("image", kind, [1, 3, "h", "w"])],
        [
            make.make_tensor_value_info("fields", kind, [1, 188, "r", "c"]),
            make.make_tensor_value_info("seg", kind, [1, 1, "sr", "sc"]),
        ],
        [onnx.numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in weights.items()],
    )
    proto = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    make.set_model_props(proto, ModelInfo(longest=160).to_metadata())
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    onnx.save(proto, path)
    return path
