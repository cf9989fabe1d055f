"""All engines agree, and refuse wrong files and options."""

from __future__ import annotations

import logging
from dataclasses import fields

import numpy as np
import pytest

from kdc_core.config import ModelInfo
from kdc_core.engines import default_model, open_engine
from kdc_core.engines.network_input import preprocess, to_tensor
from kdc_core.types import Fields, Frame


@pytest.fixture
def frame() -> Frame:
    small = np.random.default_rng(3).integers(0, 256, (9, 14, 3), np.uint8)
    return Frame(np.kron(small, np.ones((13, 13, 1), np.uint8))[:, 1:])  # 181 x 117


def test_preprocess_returns_letterboxed_rgb_planes():
    image = np.zeros((40, 100, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 10, 20, 30  # blue, green, red
    tensor, letterbox = preprocess(Frame(image), ModelInfo(longest=100))
    assert (tensor.shape, tensor.dtype) == ((1, 3, 64, 128), np.float32)
    assert [float(tensor[0, c, 5, 5]) for c in range(3)] == [30, 20, 10]
    assert np.all(tensor[0, :, 40:] == 114) and np.all(tensor[0, :, :, 100:] == 114)
    assert letterbox.scale == 1
    random = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    assert np.array_equal(to_tensor(random)[0], random[..., ::-1].transpose(2, 0, 1))


def engine_fields(name: str, models, frame: Frame, **options) -> Fields:
    path = models.checkpoint if name == "torch" else models.onnx
    engine = open_engine(name, path, threads=1, **options)
    result = engine(frame)
    engine.close()
    return result


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_engines_agree_with_torch(models, frame, name):
    pytest.importorskip(name, reason=f"{name} is not installed")
    expected = engine_fields("torch", models, frame)
    got = engine_fields(name, models, frame)
    for field in ("heat", "short", "mid", "anchor", "log_sigma", "vis", "seg"):
        want = getattr(expected, field)
        assert want.std() > 0.003, f"{field} is too flat to compare"
        np.testing.assert_allclose(getattr(got, field), want, atol=1e-4, rtol=1e-4, err_msg=field)
    for field in ("stride", "seg_stride", "radius", "letterbox"):
        assert getattr(got, field) == getattr(expected, field)
    assert len(fields(Fields)) == 7 + 4


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_engine_result_survives_the_next_frame(models, frame, name):
    pytest.importorskip(name, reason=f"{name} is not installed")
    engine = open_engine(name, models.onnx, threads=1)
    first = engine(frame)
    before = first.mid.copy()
    engine(Frame(255 - frame.image))
    assert np.array_equal(first.mid, before)


def test_open_engine_long_side(models, frame):
    engine = open_engine("onnxruntime", models.onnx, long_side=128)
    assert (engine.info.backbone, engine.info.longest) == ("efficientnet_lite0", 128)
    assert engine.info == open_engine("torch", models.checkpoint, long_side=128).info
    assert open_engine("onnxruntime", models.onnx).info == engine.info.at(160)
    assert engine(frame).letterbox.input_size == (128, 96)
    assert engine.name.startswith("onnxruntime 1.")


def test_open_engine_auto_logs_its_choice(models, caplog):
    caplog.set_level(logging.INFO, "kdc_core.engines")
    assert open_engine("auto", models.checkpoint).name.startswith("torch")
    engine = open_engine("auto", models.onnx)
    lines = [record.getMessage() for record in caplog.records]
    assert "the model is a torch checkpoint" in lines[0]
    assert engine.name in lines[1] and "installed" in lines[1]


def test_open_engine_auto_without_openvino(models, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "openvino" else find(name, *a)
    )
    assert open_engine("auto", models.onnx).name.startswith("onnxruntime")
    with pytest.raises(ValueError, match="openvino is not installed: pip install openvino"):
        open_engine("openvino", models.onnx)


def foreign_onnx(path) -> None:
    onnx = pytest.importorskip("onnx", reason="makes the file")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["a"], ["b"])],
        "other",
        [value("a", onnx.TensorProto.FLOAT, [1])],
        [value("b", onnx.TensorProto.FLOAT, [1])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "torch"])
def test_open_engine_refuses_wrong_files(tmp_path, name):
    pytest.importorskip(name, reason=f"{name} is not installed")
    suffix = ".pt" if name == "torch" else ".onnx"
    text, empty, other = (tmp_path / f"{stem}{suffix}" for stem in ("text", "empty", "other"))
    text.write_text("not a model\n")
    empty.write_bytes(b"")
    cases = [(tmp_path / f"none{suffix}", "does not exist"), (text, "cannot read it")]
    if name == "torch":
        import torch

        torch.save({"model": {}, "info": {}}, other)
        cases += [(other, "not a KDC checkpoint: lacks network"), (empty, "cannot read it")]
    else:
        foreign_onnx(other)
        cases += [(other, "not a KDC model"), (empty, "cannot read it|not a KDC model")]
    cases += [(tmp_path, "does not exist")]
    for path, words in cases:
        with pytest.raises(ValueError, match=words) as caught:
            open_engine(name, path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    (tmp_path / "swap").write_text("x")
    with pytest.raises(ValueError, match="expects"):
        open_engine(name, text.rename(tmp_path / f"text{'.onnx' if name == 'torch' else '.pt'}"))


def test_open_engine_refuses_wrong_options(models):
    with pytest.raises(ValueError, match=r"expected auto, .*onnxruntime"):
        open_engine("caffe", models.onnx)
    with pytest.raises(ValueError, match="threads: expected 0"):
        open_engine("onnxruntime", models.onnx, threads=-1)
    with pytest.raises(ValueError, match="64 to 4096 pixels, got 8"):
        open_engine("onnxruntime", models.onnx, long_side=8)
    pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(
        ValueError, match="torch: expected a checkpoint of kdc train, name one with --m"
    ):
        open_engine("torch")


def test_default_model_path():
    path = default_model()
    assert path.parts[-3:] == ("kdc_core", "weights", "kdc_lite.onnx")
