"""Networks in int8 for CPUs: accuracy, activations in bytes, and the choice per CPU."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="quantising needs onnx")

from kdc_core import engines  # noqa: E402
from kdc_core.cli import main  # noqa: E402
from kdc_core.engines import default_model, open_engine  # noqa: E402
from kdc_core.engines.precision import outer_nodes, to_int8_for_cpu  # noqa: E402
from kdc_core.system import cpu  # noqa: E402
from kdc_core.types import Frame  # noqa: E402

WEIGHTS = default_model("tensorrt").parent


def random_image(seed: int, width: int = 160, height: int = 128) -> np.ndarray:
    """Return blocks of colour with soft edges: like a photograph with strong and weak contrast."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("images")
    for seed in range(8):
        cv2.imwrite(str(path / f"{seed}.png"), random_image(seed))
    return path


@pytest.fixture(scope="module")
def quantised(models, folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "small_int7.onnx"
    assert main(["quantize", str(models.onnx), "--images", str(folder), "--out", str(path)]) == 0
    return path


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_quantised_engine_stays_close_to_float32(models, quantised, name):
    pytest.importorskip(name, reason=f"{name} is not installed")
    full, low = (open_engine(name, path, threads=1) for path in (models.onnx, quantised))
    assert low.info == full.info and low.model == quantised
    for seed in (0, 100):
        a, b = full(Frame(random_image(seed))), low(Frame(random_image(seed)))
        assert np.abs(a.seg - b.seg).mean() < 0.03
        assert np.corrcoef(a.anchor.ravel(), b.anchor.ravel())[0, 1] > 0.98
        assert not np.array_equal(a.heat, b.heat)


def test_to_int8_for_cpu_keeps_activations_in_bytes(models, quantised):
    before, after = onnx.load(models.onnx), onnx.load(quantised)
    kept = set(outer_nodes(before))
    makers = {name: node for node in after.graph.node for name in node.output}
    convolutions = [node for node in after.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == sum(node.op_type == "Conv" for node in before.graph.node)
    weighed = {n.name for n in convolutions if makers.get(n.input[1]) is not None}
    assert weighed == {n.name for n in convolutions} - kept and len(weighed) > 40
    sums = [n for n in after.graph.node if n.op_type == "Add" and n.name not in kept]
    assert sums
    assert all(makers[name].op_type == "DequantizeLinear" for n in sums for name in n.input)
    assert quantised.stat().st_size < 0.4 * models.onnx.stat().st_size


def test_quantize_refuses_wrong_input(models, quantised, folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    text = tmp_path / "text.onnx"
    text.write_text("no model")
    cases = [
        ([str(tmp_path / "none.onnx"), "--images", str(tmp_path)], "no such model file"),
        ([str(text), "--images", str(tmp_path)], "expected an ONNX file"),
        ([str(models.onnx), "--images", str(tmp_path / "empty")], "empty"),
        (
            [str(quantised), "--images", str(folder), "--out", str(tmp_path / "int8_twice.onnx")],
            "small_int7.onnx: already quantised, expected a float32 file",
        ),
    ]
    for arguments, words in cases:
        assert main(["quantize", *arguments]) == 2
        error = capsys.readouterr().err.strip().splitlines()
        assert words in error[-1], error
    assert not list(tmp_path.glob("*int8*"))
    with pytest.raises(ValueError, match="expected calibration images"):
        to_int8_for_cpu(models.onnx, [])


@pytest.mark.parametrize("path", ["small", "shipped"])
def test_seven_bit_sums_do_not_overflow(path, quantised):
    """Integer kernels agree with exact arithmetic, also on a CPU without VNNI."""
    runtime = pytest.importorskip("onnxruntime")
    file = quantised if path == "small" else WEIGHTS / "kdc_lite_int7.onnx"
    weights = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(file).graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert len(weights) > 40
    assert {np.abs(w).max() for w in weights if w.shape[1] > 1} == {64}
    assert {np.abs(w).max() for w in weights if w.shape[1] == 1} == {127}  # depthwise
    image = np.ascontiguousarray(random_image(7, 192, 128).transpose(2, 0, 1)[None], np.float32)
    answers = []
    for in_bytes in ("0", "1"):
        options = runtime.SessionOptions()
        options.add_session_config_entry("session.disable_quant_qdq", in_bytes)
        answers.append(runtime.InferenceSession(str(file), options).run(None, {"image": image}))
    for low, exact in zip(*answers, strict=True):
        assert np.corrcoef(low.ravel(), exact.ravel())[0, 1] > 0.995  # in 8 bits 0.6, 0.8


@pytest.mark.parametrize(
    ("machine", "flags", "name"),
    [
        ("x86_64", "sse2 avx2 avx512_vnni", "kdc_lite_int8.onnx"),
        ("AMD64", "sse2 avx_vnni", "kdc_lite_int8.onnx"),
        ("x86_64", "sse2 avx2 avx512f", "kdc_lite_int7.onnx"),
        ("aarch64", "", "kdc_lite.onnx"),
    ],
)
def test_default_model_per_cpu(machine, flags, name, monkeypatch):
    monkeypatch.setattr(cpu.platform, "machine", lambda: machine)
    monkeypatch.setattr(cpu, "flags", lambda: frozenset(flags.split()))
    for engine in ("onnxruntime", "openvino"):
        assert engines.default_model(engine).name == name
        assert engines.default_model(engine).is_file()
    for engine in ("tensorrt", "torch", ""):
        assert engines.default_model(engine).name == "kdc_lite.onnx"


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_open_engine_refuses_8_bits_without_vnni(name, models, folder, tmp_path, monkeypatch):
    pytest.importorskip(name, reason=f"{name} is not installed")
    path = tmp_path / "small_int8.onnx"
    words = ["quantize", str(models.onnx), "--images", str(folder), "--bits", "8"]
    assert main([*words, "--out", str(path)]) == 0
    for machine, flags, opens in (
        ("x86_64", {"avx2"}, False),
        ("x86_64", {"avx_vnni"}, True),
        ("aarch64", set(), True),
    ):
        monkeypatch.setattr(cpu.platform, "machine", lambda machine=machine: machine)
        monkeypatch.setattr(cpu, "flags", lambda flags=flags: frozenset(flags))
        if opens:
            assert open_engine(name, path, threads=1).model == path
        else:
            with pytest.raises(ValueError, match=r"expected a CPU with VNNI.*--bits 7"):
                open_engine(name, path, threads=1)


def test_cpu_flags_are_read_from_proc(monkeypatch, tmp_path):
    text = "processor : 0\nflags\t\t: fpu avx2 avx512_bf16\n\nprocessor : 1\nflags\t\t: fpu avx2\n"
    monkeypatch.setattr(cpu.Path, "read_text", lambda *_, **__: text)
    cpu.flags.cache_clear()
    try:
        assert cpu.has_bf16() and not cpu.has_vnni()
    finally:
        cpu.flags.cache_clear()


@pytest.mark.skipif(not default_model("tensorrt").is_file(), reason="the weights are not there")
@pytest.mark.parametrize("kind", ["int7", "int8"])
def test_shipped_weights_agree(kind):
    """Heat and masks differ little on an image that was not used for calibration."""
    pytest.importorskip("onnxruntime", reason="runs both")
    if kind == "int8" and cpu.is_x86() and not cpu.has_vnni():
        pytest.skip("this CPU has no VNNI")
    full, low = (
        open_engine("onnxruntime", WEIGHTS / name, threads=1, long_side=384)
        for name in ("kdc_lite.onnx", f"kdc_lite_{kind}.onnx")
    )
    assert (full.info.octaves, low.info) == (3, replace(full.info, octaves=2))
    frame = Frame(random_image(7, 384, 256))  # a whole number of cells of both
    a, b = full(frame), low(frame)
    assert np.abs(a.heat - b.heat).mean() < 0.005
    assert np.abs(a.seg - b.seg).mean() < 0.05
    for name in ("short", "mid", "anchor"):
        assert np.corrcoef(getattr(a, name).ravel(), getattr(b, name).ravel())[0, 1] > 0.95, name
