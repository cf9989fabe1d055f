"""MoveNet's feature extractor: its shapes, and the conversion's arithmetic on random weights."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network needs torch")

from torch.nn import functional as F  # noqa: E402

from kdc_core.network.backbones import build_backbone, load_published  # noqa: E402
from kdc_core.network.movenet import convert  # noqa: E402

GRAPH = "Graph/center_net_mobile_net_v2fpn_feature_extractor/model_1"
HALVES = {"expand": "Conv2D", "depthwise": "depthwise", "project": "Conv2D"}


def published_weights() -> dict[str, np.ndarray]:
    """Random weights under the graph's names and in TensorFlow's layouts."""
    rng = np.random.default_rng(0)
    weights = {}

    def add(name: str, *shape: int) -> None:
        fan_in = max(1, int(np.prod(shape[:3])) if shape[-1] > 1 else 9)
        weights[name] = (rng.standard_normal(shape) * (2 / fan_in) ** 0.5).astype(np.float16)

    def folded(name: str, kind: str, shape: tuple[int, ...], outputs: int) -> None:
        add(f"{GRAPH}/model/{name}/{kind}_weights", *shape)
        add(f"{GRAPH}/model/{name}/{kind}_bn_offset", outputs)

    folded("Conv1", "Conv2D", (3, 3, 3, 48), 48)
    outputs = [24, *2 * [40], *3 * [48], *4 * [96], *3 * [144], *3 * [240], 480]
    inputs = 48
    for index, after in enumerate(outputs):
        name, wide = (f"block_{index}", 6 * inputs) if index else ("expanded_conv", inputs)
        if index:
            folded(f"{name}_expand", "Conv2D", (1, 1, inputs, wide), wide)
        folded(f"{name}_depthwise", "depthwise", (3, 3, wide, 1), wide)
        folded(f"{name}_project", "Conv2D", (1, 1, wide, after), after)
        inputs = after
    folded("Conv_1", "Conv2D", (1, 1, 480, 1280), 1280)
    laterals = ((1280, 64), (96, 64), (48, 32), (40, 24))
    for index, shape in enumerate(laterals):
        name = "conv2d" + (f"_{index}" if index else "")
        add(f"{GRAPH}/{name}/Conv2D/ReadVariableOp", 1, 1, *shape)
        add(f"{GRAPH}/{name}/BiasAdd/ReadVariableOp", shape[1])
    for index, (before, after) in enumerate(((64, 32), (32, 24), (24, 24))):
        name = f"{GRAPH}/separable_conv2d" + (f"_{index}" if index else "")
        add(f"{name}/separable_conv2d/ReadVariableOp", 3, 3, before, 1)
        add(f"{name}/separable_conv2d_weights", 1, 1, before, after)
        add(f"{name}/separable_conv2d_bn_offset", after)
    return weights


def conv(x, kernel, bias, stride=1):
    """TensorFlow's convolution with padding SAME: HWIO kernel, or (kh, kw, channels, 1)."""
    kernel = torch.from_numpy(kernel.astype(np.float32))
    depthwise = kernel.shape[3] == 1 and kernel.shape[2] == x.shape[1]
    kernel = kernel.permute((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
    total = max(kernel.shape[2] - stride, 0)  # even sides; the odd pixel goes below and right
    x = F.pad(x, [total // 2, total - total // 2] * 2)
    bias = None if bias is None else torch.from_numpy(bias.astype(np.float32))
    return F.conv2d(x, kernel, bias, stride, groups=x.shape[1] if depthwise else 1)


def test_movenet_agrees_with_the_published_graph(tmp_path):
    weights = published_weights()
    net = build_backbone("movenet").eval()
    file = tmp_path / "movenet.pt"
    torch.save(convert(weights), file)
    load_published(net, "movenet", file)  # checks that the tensors are complete

    def layer(x, name, kind, stride=1):
        prefix = f"{GRAPH}/model/{name}/{kind}"
        return conv(x, weights[f"{prefix}_weights"], weights[f"{prefix}_bn_offset"], stride)

    def plain(x, name):
        prefix = f"{GRAPH}/{name}"
        return conv(
            x,
            weights[f"{prefix}/Conv2D/ReadVariableOp"],
            weights[f"{prefix}/BiasAdd/ReadVariableOp"],
        )

    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        got = net(image)
        x = F.relu6(layer(image, "Conv1", "Conv2D", 2))
        outputs = []
        for index in range(17):
            name = f"block_{index}" if index else "expanded_conv"
            y = F.relu6(layer(x, f"{name}_expand", "Conv2D")) if index else x
            y = F.relu6(layer(y, f"{name}_depthwise", "depthwise", 1 + (index in (1, 3, 6, 13))))
            y = layer(y, f"{name}_project", "Conv2D")
            x = x + y if index in (2, 4, 5, 7, 8, 9, 11, 12, 14, 15) else y
            outputs.append(x)
        merged = [plain(F.relu6(layer(x, "Conv_1", "Conv2D")), "conv2d")]
        for index, block in enumerate((9, 5, 2)):
            up = F.interpolate(merged[-1], scale_factor=2, mode="bilinear")
            y = up + plain(outputs[block], f"conv2d_{index + 1}")
            prefix = f"{GRAPH}/separable_conv2d" + (f"_{index}" if index else "")
            y = conv(y, weights[f"{prefix}/separable_conv2d/ReadVariableOp"], None)
            y = conv(
                y,
                weights[f"{prefix}/separable_conv2d_weights"],
                weights[f"{prefix}/separable_conv2d_bn_offset"],
            )
            merged.append(F.relu(y))
    top, at16, at8, at4 = merged
    fine = F.pixel_unshuffle(at4, 2)
    wanted = [(outputs[2], at4), (outputs[5], at8, fine), (outputs[12], at16), (outputs[16], top)]
    for features, parts in zip(got, wanted, strict=True):
        want = torch.cat(parts, 1)
        assert features.shape == want.shape
        assert (features - want).abs().max() <= 1e-4 * want.abs().max()


def test_convert_movenet_names_a_missing_weight():
    weights = published_weights()
    del weights[f"{GRAPH}/conv2d_2/BiasAdd/ReadVariableOp"]
    with pytest.raises(ValueError, match=r"conv2d_2/BiasAdd/ReadVariableOp, found 0"):
        convert(weights)
    with pytest.raises(ValueError, match="got none: --backbone-weights"):
        load_published(build_backbone("movenet"), "movenet")


def test_movenet_up_to():
    net = build_backbone("movenet")
    assert net.up_to(0) == []
    image = torch.rand(1, 3, 32, 64)
    for stride, channels in ((4, 40), (8, 48)):
        x = image
        for index, part in enumerate(net.up_to(stride)):
            x = F.relu6(part(x)) if index == 0 else part(x)
        assert tuple(x.shape) == (1, channels, 32 // stride, 64 // stride)
