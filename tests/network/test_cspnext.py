"""RTMPose-s's feature extractor: the published graph's arithmetic on random weights."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network needs torch")
onnx = pytest.importorskip("onnx", reason="the published weights are in an ONNX file")

from torch.nn import functional as F  # noqa: E402

from kdc_core.network import cspnext  # noqa: E402
from kdc_core.network.backbones import build_backbone, load_published  # noqa: E402
from kdc_core.network.published import convert_file, read_onnx  # noqa: E402


def published() -> list[tuple[np.ndarray, np.ndarray]]:
    """Random kernels and biases of 43 convolutions, in the order of the published graph."""
    rng = np.random.default_rng(0)
    shapes = [(16, 3, 3), (16, 16, 3), (32, 16, 3)]
    inputs = 32
    for outputs, blocks in ((64, 1), (128, 2), (256, 2), (512, 1)):
        half = outputs // 2
        shapes.append((outputs, inputs, 3))
        if outputs == 512:
            shapes += [(half, outputs, 1), (outputs, 4 * half, 1)]
        shapes += [(half, outputs, 1), (half, outputs, 1)]
        shapes += blocks * [(half, half, 3), (half, 1, 5), (half, half, 1)]
        shapes += [(outputs, outputs, 1), (outputs, outputs, 1)]
        inputs = outputs
    return [
        ((rng.standard_normal((o, i, k, k)) / (i * k * k) ** 0.5 * 1.7).astype(np.float32),
         rng.standard_normal(o).astype(np.float32))
        for o, i, k in shapes
    ]  # fmt: skip


def as_onnx(weights, path):
    """A file with these convolutions, one of the pose head behind them."""
    head = (np.zeros((26, 512, 7, 7), np.float32), np.zeros(26, np.float32))
    nodes, values = [], []
    for index, pair in enumerate([*weights, head]):
        prefix = "head.final_layer" if pair is head else f"conv{index}"
        names = [f"{prefix}.weight", f"{prefix}.bias"]
        values += [onnx.numpy_helper.from_array(v, n) for v, n in zip(pair, names, strict=True)]
        nodes.append(onnx.helper.make_node("Conv", [f"x{index}", *names], [f"x{index + 1}"]))
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [], values)), path)


def features(weights, x):
    """The published graph, node by node: every convolution takes the next weights."""
    left = iter(weights)

    def plain(x, stride=1):
        kernel, bias = (torch.from_numpy(value) for value in next(left))
        groups = len(kernel) if kernel.shape[1] == 1 else 1
        return F.conv2d(x, kernel, bias, stride, kernel.shape[2] // 2, groups=groups)

    def conv(x, stride=1):
        x = plain(x, stride)
        return x * torch.sigmoid(x)

    x = conv(conv(conv(x, 2)))
    outputs = []
    for blocks in (1, 2, 2, 1):
        x = conv(x, 2)
        last = len(outputs) == 3
        if last:
            x = conv(x)
            x = conv(torch.cat([x, *(F.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13))], 1))
        short, y = conv(x), conv(x)
        for _ in range(blocks):
            y = conv(conv(conv(y))) + (0 if last else y)
        x = torch.cat([y, short], 1)
        x = conv(x * (plain(x.mean((2, 3), keepdim=True)) / 6 + 0.5).clip(0, 1))
        outputs.append(x)
    assert next(left, None) is None
    return outputs


def test_features_equal_the_graph(tmp_path, monkeypatch):
    weights = published()
    as_onnx(weights, tmp_path / "rtmpose.onnx")
    argv = ["cspnext", str(tmp_path / "rtmpose.onnx"), str(tmp_path / "rtmpose.pt")]
    monkeypatch.setattr("sys.argv", argv)
    convert_file(read_onnx, cspnext.convert)
    net = build_backbone("cspnext_s").eval()
    load_published(net, "cspnext_s", tmp_path / "rtmpose.pt")
    image = torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    rounded = [(kernel.astype(np.float16).astype(np.float32), bias) for kernel, bias in weights]
    with torch.no_grad():
        got, want = net(image), features(rounded, image)
    for ours, theirs in zip(got, want, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_another_number_of_convolutions_is_named():
    with pytest.raises(ValueError, match="expected 43 convolutions, got 44"):
        cspnext.convert({str(i): (np.zeros(1), np.zeros(1)) for i in range(44)})
    with pytest.raises(ValueError, match=r"kdc_core.network.cspnext tells where"):
        load_published(build_backbone("cspnext_s"), "cspnext_s")


def test_frozen_parts_are_those_of_the_stride():
    net = build_backbone("cspnext_s").eval()
    image = torch.rand(1, 3, 64, 96)
    assert net.up_to(0) == []
    with torch.no_grad():
        for level, stride in enumerate((4, 8)):
            x = image
            for part in net.up_to(stride):
                x = part(x)
            assert torch.equal(x, net(image)[level])
