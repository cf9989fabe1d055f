"""The conversion of Keras' ResNet-50: its arithmetic, on random weights."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network needs torch")

from torch.nn import functional as F  # noqa: E402

from kdc_core.errors import InputError  # noqa: E402
from kdc_core.network.backbones import build_backbone, load_tensors  # noqa: E402
from kdc_core.network.keras_resnet import CAFFE_MEAN_BGR, convert  # noqa: E402


def keras_weights() -> dict[str, np.ndarray]:
    """Random weights under Keras' names and in its layouts."""
    rng = np.random.default_rng(0)
    shapes = {"conv1": ("bn_conv1", 7, 3, 64)}
    inputs = 64
    for stage, (width, blocks) in enumerate(zip((64, 128, 256, 512), "cdfc", strict=True), 2):
        for block in map(chr, range(ord("a"), ord(blocks) + 1)):
            name = f"res{stage}{block}_branch"
            branches = {
                "2a": (1, inputs, width),
                "2b": (3, width, width),
                "2c": (1, width, 4 * width),
            }
            if block == "a":
                branches["1"] = (1, inputs, 4 * width)
            for branch, shape in branches.items():
                shapes[name + branch] = (f"bn{stage}{block}_branch{branch}", *shape)
            inputs = 4 * width
    weights = {}
    for name, (norm, kernel, before, after) in shapes.items():
        scale = (2 / (kernel * kernel * before)) ** 0.5
        weights[f"{name}/kernel"] = scale * rng.standard_normal((kernel, kernel, before, after))
        weights[f"{name}/bias"] = rng.normal(0, 0.1, after)
        weights[f"{norm}/gamma"], weights[f"{norm}/beta"] = rng.uniform(0.5, 1, (2, after))
        weights[f"{norm}/moving_mean"] = rng.normal(0, 0.1, after)
        weights[f"{norm}/moving_variance"] = rng.uniform(0.5, 2, after)
    weights["fc1000/kernel"], weights["fc1000/bias"] = np.zeros((2048, 1000)), np.zeros(1000)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def test_convert_keras_first_layers():
    weights = keras_weights()
    net = build_backbone("resnet50_v1").eval()
    state = {k: v for k, v in convert(weights).items() if not k.startswith("fc.")}
    load_tensors(net, state, "test")  # checks that the tensors are complete

    rgb = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    mean = torch.tensor(net.mean).view(1, 3, 1, 1)
    std = torch.tensor(net.std).view(1, 3, 1, 1)
    with torch.no_grad():
        ours = net.bn1(net.conv1((rgb - mean) / std))
        w = {k: torch.from_numpy(v) for k, v in weights.items()}
        bgr = rgb.flip(1) - torch.tensor(CAFFE_MEAN_BGR).view(1, 3, 1, 1)
        kernel = w["conv1/kernel"].permute(3, 2, 0, 1)
        keras = F.batch_norm(
            F.conv2d(bgr, kernel, w["conv1/bias"], stride=2, padding=3),
            w["bn_conv1/moving_mean"],
            w["bn_conv1/moving_variance"],
            w["bn_conv1/gamma"],
            w["bn_conv1/beta"],
            eps=1e-3,
        )
    inner = (..., slice(2, -2), slice(2, -2))  # zero padding stands for another grey in each
    assert (ours[inner] - keras[inner]).abs().max() < 1e-3 * keras.abs().max()


def test_resnet50_v1_has_its_stride_in_the_first_1x1():
    block = build_backbone("resnet50_v1").layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
    block = build_backbone("resnet50").layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


def test_convert_keras_names_missing_and_unknown_weights():
    weights = keras_weights()
    gamma = weights.pop("bn2a_branch2a/gamma")
    with pytest.raises(InputError, match="expected a weight named bn2a_branch2a/gamma"):
        convert(weights)
    with pytest.raises(InputError, match="unknown weights: other"):
        convert({**weights, "bn2a_branch2a/gamma": gamma, "other": gamma})
