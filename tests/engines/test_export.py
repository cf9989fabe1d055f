"""Exported graphs use plain operators, agree with torch and carry metadata."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")
onnx = pytest.importorskip("onnx", reason="export needs onnx")

from kdc_core.config import ModelInfo  # noqa: E402
from kdc_core.engines.torch import load_checkpoint  # noqa: E402
from kdc_core.network.model import Inference  # noqa: E402
from kdc_core.skeleton import channel_slices  # noqa: E402
from kdc_lab.convert import to_onnx as module  # noqa: E402
from kdc_lab.convert.to_onnx import export, fold_pads, largest_difference  # noqa: E402


def test_export_agrees_with_torch(models):
    assert models.difference <= 1e-4
    net = Inference(load_checkpoint(models.checkpoint)[0]).eval()
    assert largest_difference(net, models.onnx) == pytest.approx(models.difference, abs=2e-5)
    with torch.no_grad():
        net.net.heads.seg.bias += 0.001
    assert 1e-4 < largest_difference(net, models.onnx) < 1e-3  # the comparison detects a change


def test_export_refuses_a_differing_graph(models, tmp_path, monkeypatch):
    out = tmp_path / "out.onnx"
    out.write_text("older")
    true_trace = module.trace

    def wrong_trace(net, info, path):
        true_trace(net, info, path)
        model = onnx.load(path)
        next(t for t in model.graph.initializer if t.name.endswith("seg.bias")).raw_data = np.full(
            4, 0.5, np.float32
        ).tobytes()
        onnx.save(model, path)

    monkeypatch.setattr(module, "trace", wrong_trace)
    with pytest.raises(ValueError, match=r"differ by .* more than 1e-04.*was not written"):
        export(models.checkpoint, out)
    assert out.read_text() == "older"
    assert [p.name for p in tmp_path.iterdir()] == ["out.onnx"]


def test_export_uses_plain_operators(models):
    model = onnx.load(models.onnx)
    operators = Counter(node.op_type for node in model.graph.node)
    assert set(operators) <= {
        "Conv",
        "Clip",
        "Relu",
        "Add",
        "Sub",
        "Mul",
        "Resize",
        "Sigmoid",
        "Slice",
        "Concat",
        "DepthToSpace",
    }
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    image, fields, seg = *model.graph.input, *model.graph.output
    for tensor, name, channels in ((image, "image", 3), (fields, "fields", 188), (seg, "seg", 1)):
        shape = tensor.type.tensor_type.shape.dim
        assert (tensor.name, shape[0].dim_value, shape[1].dim_value) == (name, 1, channels)
        assert shape[2].dim_param and shape[3].dim_param  # free


def test_model_info_metadata_round_trip(models):
    text = {p.key: p.value for p in onnx.load(models.onnx).metadata_props}
    info = ModelInfo.from_metadata(text)
    assert info == load_checkpoint(models.checkpoint)[1]
    assert (info.longest, info.stride, info.seg_stride, info.radius) == (160, 8, 2, 16.0)


def test_model_info_refuses_wrong_metadata(models):
    text = load_checkpoint(models.checkpoint)[1].to_metadata()
    assert ModelInfo.from_metadata(text).octaves == 1
    del text["kdc_octaves"]  # as in older files
    assert ModelInfo.from_metadata(text).multiple == 64
    for octaves in ("0", "-3", "4000000000"):
        with pytest.raises(ValueError, match=f"1 to 3 octaves, got {octaves}"):
            ModelInfo.from_metadata({**text, "kdc_octaves": octaves})
    del text["kdc_radius"]
    with pytest.raises(ValueError, match="'kdc_radius' is missing or wrong"):
        ModelInfo.from_metadata(text)


def test_fold_pads_only_folds_zero_borders():
    def model_with(pads: list[int], filler: float):
        nodes = [
            onnx.helper.make_node("Pad", ["x", "pads", "filler"], ["padded"]),
            onnx.helper.make_node("Conv", ["padded", "w"], ["y"], strides=[2, 2], pads=[0] * 4),
        ]
        constants = [
            onnx.numpy_helper.from_array(np.array(pads), "pads"),
            onnx.numpy_helper.from_array(np.float32(filler), "filler"),
            onnx.numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "w"),
        ]
        value = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            nodes, "g", [value("x", 1, [1, 1, 4, 4])], [value("y", 1, None)], constants
        )
        return onnx.helper.make_model(graph)

    model = model_with([0, 0, 0, 1, 0, 0, 2, 3], 0.0)
    assert fold_pads(model) == 1
    (conv,) = model.graph.node
    assert list(next(a for a in conv.attribute if a.name == "pads").ints) == [0, 1, 2, 3]
    assert [t.name for t in model.graph.initializer] == ["w"]
    assert fold_pads(model_with([0, 0, 0, 1, 0, 0, 2, 3], 1.0)) == 0  # border of ones
    assert fold_pads(model_with([0, 1, 0, 0, 0, 0, 0, 0], 0.0)) == 0  # a padded channel


def test_export_refuses_wrong_paths(models, tmp_path):
    with pytest.raises(ValueError, match=r"NAME\.onnx in an existing folder"):
        export(models.checkpoint, tmp_path / "none" / "a.onnx")
    with pytest.raises(ValueError, match=r"NAME\.onnx"):
        export(models.checkpoint, tmp_path / "a.pt")
    (tmp_path / "junk.pt").write_bytes(models.onnx.read_bytes())
    (tmp_path / "junk.onnx").write_bytes(models.checkpoint.read_bytes())
    for name in ("junk.pt", "junk.onnx"):
        with pytest.raises(ValueError, match="cannot read it"):
            export(tmp_path / name, tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="does not exist"):
        export(tmp_path / "none.pt", tmp_path / "a.onnx")


def test_export_with_two_octaves_shares_weights(models, tmp_path):
    """The graph is twice as long, but not the file; σ is such that both scales contribute."""
    content = torch.load(models.checkpoint, weights_only=True)
    content["network"]["octaves"] = 2
    where = channel_slices()["log_sigma"].start
    content["model"]["heads.fields.bias"][where] += 1.2
    torch.save(content, tmp_path / "two.pt")
    out = tmp_path / "two.onnx"
    assert export(tmp_path / "two.pt", out) <= 1e-4
    assert out.stat().st_size < 1.1 * models.onnx.stat().st_size
    operators = Counter(node.op_type for node in onnx.load(out).graph.node)
    once = Counter(node.op_type for node in onnx.load(models.onnx).graph.node)
    assert operators["Conv"] == 2 * once["Conv"]
    assert set(operators) - set(once) == {"AveragePool"}
