"""Build engines with the real TensorRT for RTX, and run them over a fake TensorRT."""

import hashlib
import json
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from kdc_core.config import ModelInfo
from kdc_core.cuda import MODULES, load_tensorrt
from kdc_core.engines import default_model
from kdc_core.engines import trt_build as building
from kdc_core.engines.model_file import read_info
from kdc_core.engines.precision import PRECISIONS, outer_nodes
from kdc_core.engines.trt_build import build, build_cached, cached, onnx_bytes
from tests.cuda import fake_tensorrt
from tests.cuda.helpers import run_python

needs_rtx = pytest.mark.skipif(
    not any(find_spec(name) for name in MODULES),
    reason="no TensorRT: pip install tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings",
)
onnx = pytest.importorskip("onnx", reason="precision.py needs onnx")


def calibration_input(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (1, 3, 128, 256)).astype(np.float32)


@needs_rtx
@pytest.mark.parametrize("precision", PRECISIONS)
def test_build_with_tensorrt_for_rtx(model, precision):
    trt = load_tensorrt()
    text = onnx_bytes(model, precision, [calibration_input()])
    plan, _ = build(trt, text, ModelInfo(longest=160), precision)
    assert len(plan) > 10_000


@needs_rtx
@pytest.mark.skipif(not default_model().is_file(), reason="the weights are not there")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_build_the_shipped_model(precision):
    trt = load_tensorrt()
    text = onnx_bytes(default_model(), precision, [calibration_input()])
    plan, _ = build(trt, text, read_info(default_model()).at(1024), precision)
    assert len(plan) > default_model().stat().st_size / 6


@needs_rtx
def test_build_refuses_what_is_no_model():
    with pytest.raises(ValueError, match=r"TensorRT cannot read the model: .+"):
        build(load_tensorrt(), b"junk", ModelInfo())


@pytest.mark.parametrize("precision, tolerance", [("fp16", 0.005), ("int8", 0.05)])
def test_lower_precision_stays_close_to_float32(model, precision, tolerance):
    runtime = pytest.importorskip("onnxruntime", reason="the reference is ONNX Runtime")
    images = [calibration_input(i) for i in range(3)]
    cpu = ["CPUExecutionProvider"]
    outputs = [
        runtime.InferenceSession(onnx_bytes(model, name, images), providers=cpu).run(
            None, {"image": images[0]}
        )
        for name in ("fp32", precision)
    ]
    for full, low in zip(*outputs, strict=True):
        gap = np.abs(full - low).max() / np.abs(full).max()
        assert 0 < gap < tolerance


def test_to_half_types(model):
    half = onnx.load_from_string(onnx_bytes(model, "fp16"))
    assert {t.data_type for t in half.graph.initializer} == {onnx.TensorProto.FLOAT16}
    ends = (*half.graph.input, *half.graph.output)
    assert {v.type.tensor_type.elem_type for v in ends} == {onnx.TensorProto.FLOAT}


def test_to_int8_keeps_the_outer_convolutions(model):
    assert outer_nodes(onnx.load(model)) == ["body", "mask", "stem"]
    quantised = onnx.load_from_string(onnx_bytes(model, "int8", [calibration_input()]))
    readers = [n.input[1] for n in quantised.graph.node if n.op_type == "Conv"]
    assert sorted(name for name in readers if "Dequantize" not in name) == ["body", "mask", "stem"]
    assert [name.startswith("middle_Dequantize") for name in readers].count(True) == 1
    with pytest.raises(ValueError, match="expected calibration images"):
        onnx_bytes(model, "int8")


@needs_rtx
def test_build_for_turing(model):
    trt = load_tensorrt()
    plan, _ = build(trt, model.read_bytes(), ModelInfo(longest=160), gpu="Tesla T4 (sm_75)")
    others, _ = build(trt, model.read_bytes(), ModelInfo(longest=160))
    assert len(plan) > 10_000 and plan != others


def test_to_int8_quantises_weights_in_the_graph(model):
    """TensorRT 8 refuses weights that are stored as bytes."""
    graph = onnx.load_from_string(onnx_bytes(model, "int8", [calibration_input()])).graph
    stored = {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.INT8 and t.dims}
    readers = [n for n in graph.node if n.input and n.input[0] in stored]
    assert not readers
    assert any(n.op_type == "QuantizeLinear" and "middle" in n.input[0] for n in graph.node)


def test_build_cached_ignores_timings_of_another_gpu(model, tmp_path, monkeypatch):
    """Two GPUs share a folder; TensorRT refuses the timings of the other GPU."""
    one, two = (
        building.engine_key(fake_tensorrt, model, gpu, "fp32", 160)
        for gpu in ("A (sm_80)", "B (sm_86)")
    )
    build_cached(fake_tensorrt, one, model, folder=tmp_path)
    (first,) = tmp_path.glob("timing-*.bin")
    monkeypatch.setattr(fake_tensorrt, "timings", b"of B")
    assert build_cached(fake_tensorrt, two, model, folder=tmp_path)
    assert {p.read_bytes() for p in tmp_path.glob("timing-*.bin")} == {b"timings", b"of B"}
    assert build_cached(fake_tensorrt, one, model, folder=tmp_path)  # another GPU of the same name
    assert first.read_bytes() == b"of B"


class Trt:
    """Stands for the TensorRT module, of which a key needs name and version."""

    __name__, __version__ = "tensorrt", "10.3.0"


def test_cached_checks_key_and_checksum(model, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(building, "build", lambda *_: (b"plan", b""))
    wanted = building.engine_key(Trt, model, "GPU (sm_87)", "fp16", 640)
    assert cached(wanted, tmp_path) is None
    build_cached(Trt, wanted, model, folder=tmp_path)
    assert cached(wanted, tmp_path) == b"plan"
    for other in (
        {"tensorrt": "tensorrt 10.4.0"},
        {"gpu": "X"},
        {"precision": "fp32"},
        {"steps": 1},
    ):
        assert cached(replace(wanted, **other), tmp_path) is None
    path = next(tmp_path.glob("*.engine"))
    manifest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert manifest["recipe"]["onnx_sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    path.write_bytes(b"plam")
    assert cached(wanted, tmp_path) is None and "its checksum is wrong" in caplog.text
    path.with_suffix(".json").write_text("{", encoding="utf-8")
    assert cached(wanted, tmp_path) is None and "manifest cannot be read" in caplog.text


def test_manifest_matches_its_schema(model, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "build", lambda *_: (b"plan", b""))
    build_cached(Trt, building.engine_key(Trt, model, "GPU", "fp32", 640), model, folder=tmp_path)
    manifest = json.loads(next(tmp_path.glob("*.json")).read_text(encoding="utf-8"))
    path = Path(__file__).parents[2] / "trt_engines" / "manifest.schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    engine_key = schema["properties"]["recipe"]
    assert sorted(manifest) == sorted(schema["required"])
    assert sorted(manifest["recipe"]) == sorted(engine_key["required"])
    assert set(engine_key["properties"]["precision"]["enum"]) == set(PRECISIONS)
    digest = re.compile(schema["properties"]["engine_sha256"]["pattern"])
    assert digest.match(manifest["engine_sha256"])
    assert digest.match(manifest["recipe"]["onnx_sha256"])


def test_engine_key_refuses_an_unknown_precision(model):
    with pytest.raises(ValueError, match=r"expected one of .*, got 'fp8'"):
        building.engine_key(Trt, model, "GPU", "fp8", 640)


def test_tensorrt_engine_on_the_fake_gpu(model, libcuda, tmp_path):
    """Fields are equal with and without CUDA graphs, and for cached, damaged, rejected engines."""
    script = Path(__file__).with_name("drive_tensorrt.py")
    done = run_python([str(script), str(model)], libcuda, KDC_ENGINES=str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [
        re.sub(r"kdc-\S+\.engine", "ENGINE", line)
        for line in done.stdout.splitlines()
        if not line.startswith("building")
    ]
    fp32 = "fake_tensorrt 10.3.0 fp32, emulated GPU (sm_90), PyCUDA"
    fp16 = fp32.replace("fp32", "fp16")
    no_graph = "TensorRT: running without a CUDA graph (cuStreamEndCapture failed with status 901)"
    assert [line.rsplit(" ", 1)[0] if ", PyCUDA" in line else line for line in lines] == [
        fp32,
        "graphs replayed 5",
        no_graph,
        fp32,
        "graphs replayed 5",
        "built 1",
        f"rebuilding engine {tmp_path}/ENGINE: its checksum is wrong",
        fp32,
        "built 2",
        "rebuilding the cached engine: it does not load on this machine",
        fp32,
        "built 3",
        fp16,
        "built 4",
        "rebuilding the cached engine: it does not load on this machine",
        "TensorRT 10.3.0 cannot load the engine that it has just built for emulated GPU (sm_90); "
        "does it support this GPU?",
        "leaks: 0 calls without a context: 0",
    ]


def test_gpu_pipeline_on_the_fake_gpu(model, libcuda, tmp_path):
    """Two pipelines in four threads agree with the CPU decoder; dense fields stay on the GPU."""
    script = Path(__file__).with_name("drive_pipeline.py")
    done = run_python([str(script), str(model)], libcuda, KDC_ENGINES=str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [
        "GpuPipeline found people: True",
        "label image and candidates only: True",
        "in track mode: True",
        "leaks: 0 calls without a context: 0",
    ]
    assert "Warning" not in done.stderr


@pytest.mark.parametrize(
    "fault, lines",
    [
        ("", ["opened fake_tensorrt 10.3.0 fp16, emulated GPU (sm_90)", "5 frames"]),
        (
            "init=803",
            [
                "no GPU engine: driver: the NVIDIA driver and its library have different",
                "opened CPU",
                "5 frames",
            ],
        ),
        (
            "devices=0",
            ["no GPU engine: GPU: the NVIDIA driver finds no GPU", "opened CPU", "5 frames"],
        ),
        ("memory=100000", ["opened fake_tensorrt", *2 * ["GPU out of memory: cuMemAlloc failed"]]),
        ("launches=20", ["opened fake_tensorrt", "GPU lost: ", "GPU lost: "]),
        ("launches=0", ["opened fake_tensorrt", "GPU lost: ", "GPU lost: "]),
    ],
)
def test_failing_gpu_falls_back_or_reports(model, libcuda, tmp_path, fault, lines):
    """A fault while opening falls back to the CPU; a later fault is an error of one line."""
    script = Path(__file__).with_name("drive_faults.py")
    where = {"KDC_ENGINES": str(tmp_path), "KDC_FAKE_GPU": fault}
    done = run_python([str(script), str(model)], libcuda, **where)
    assert done.returncode == 0, done.stderr[-2000:]
    said = [line for line in done.stdout.splitlines() if not line.startswith("building")]
    assert len(said) == len(lines) + 1 and said[-1] == "closed", done.stdout
    for line, expected in zip(said, lines, strict=False):
        assert expected in line, done.stdout
    assert "Traceback" not in done.stderr
