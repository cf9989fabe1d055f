"""An exported file as a start of training: its folded batch norms are unfolded again.

So shipped weights, which are ONNX files, can be trained further on one's own pictures.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdc_core.engines.model_file import read_info
from kdc_core.network.backbones import fill
from kdc_core.network.model import KdcNet, preset


def read_exported(path: Path, name: str) -> KdcNet:
    """The network of a float32 file of ``kdc export``; every batch norm only adds its bias.

    Its answers are those of the file. Before training it needs ``normalise``.

    Raises:
        ValueError: not such a file, or not one of the preset ``name``.
    """
    if not path.is_file():
        raise ValueError(f"{path}: expected a file of `kdc export`, it does not exist")
    info = read_info(path)
    if info.preset != name:
        raise ValueError(f"{path}: expected a file of the preset {name}, got one of {info.preset}")
    weights = _convolutions(path)
    net = KdcNet(preset(info.preset)).eval()
    norms = _norms(net)
    state = {}
    for conv in _named(net, nn.Conv2d).keys() & weights.keys():
        kernel, *bias = weights[conv]
        state[f"{conv}.weight"] = kernel
        if bias and conv in norms:
            norm = net.get_submodule(norms[conv])
            state |= {f"{norms[conv]}.{key}": value for key, value in _adding(*bias, norm).items()}
        elif bias:
            state[f"{conv}.bias"] = bias[0]
    fill(net, state, str(path))
    return net


@torch.no_grad()
def normalise(net: KdcNet, images: Iterable[Tensor]) -> None:
    """Give batch norms the statistics of ``images`` (B, 3, H, W), and leave every answer as it is.

    Training normalises by a batch's own statistics: a norm that held others would make another
    network of the first step. Kernels get the size of fresh ones, which rates are made for.
    """
    norms = _norms(net)
    moments: dict[str, Tensor] = {}
    count = 0

    def watch(name: str) -> Callable[..., None]:
        def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0]
            found = torch.stack([x.mean((0, 2, 3)), x.square().mean((0, 2, 3))])
            moments[name] = moments.get(name, 0) + found

        return add

    handles = [net.get_submodule(n).register_forward_pre_hook(watch(n)) for n in norms.values()]
    net.eval()
    for image in images:
        net(image)
        count += 1
    for handle in handles:
        handle.remove()
    for conv_name, norm_name in norms.items():
        conv, norm = net.get_submodule(conv_name), net.get_submodule(norm_name)
        mean, square = moments[norm_name] / count
        variance = (square - mean.square()).clamp(min=0)
        slope = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - norm.running_mean * slope
        size = conv.weight.flatten(1).square().mean(1).sqrt()
        larger = math.sqrt(2 / conv.weight[0].numel()) / size.clamp(min=1e-12)
        conv.weight *= larger.view(-1, 1, 1, 1)
        norm.running_mean.copy_(mean * larger)
        norm.running_var.copy_(variance * larger.square())
        norm.weight.copy_(slope / larger * (norm.running_var + norm.eps).sqrt())
        norm.bias.copy_(shift + slope * mean)


def _named(net: nn.Module, kinds: Any) -> dict[str, nn.Module]:
    return {name: module for name, module in net.named_modules() if isinstance(module, kinds)}


def _norms(net: nn.Module) -> dict[str, str]:
    """Names of the convolutions that a batch norm follows, and of that norm."""
    modules = _named(net, nn.Conv2d | nn.BatchNorm2d)
    return {conv: norm for conv, norm in pairwise(modules)
            if isinstance(modules[norm], nn.BatchNorm2d)}  # fmt: skip


def _adding(bias: Tensor, norm: nn.BatchNorm2d) -> dict[str, Tensor]:
    """State of a batch norm that adds ``bias`` and does no more."""
    one = torch.ones_like(bias)
    return {"weight": one, "bias": bias, "running_mean": 0 * one, "running_var": one - norm.eps}


def _convolutions(path: Path) -> dict[str, tuple[Tensor, ...]]:
    """Kernel, and bias where it has one, of every convolution by the name of its module."""
    import onnx

    graph = onnx.load(path).graph
    constants = {t.name: t for t in graph.initializer}
    if any(node.op_type == "DequantizeLinear" for node in graph.node):
        raise ValueError(f"{path}: expected float32, it is quantised; take what it was made from")
    found = {}
    for node in graph.node:
        names = list(node.input[1:])
        if node.op_type == "Conv" and all(n in constants for n in names):
            tensors = (onnx.numpy_helper.to_array(constants[name]) for name in names)
            found[_module_name(node.name)] = tuple(torch.tensor(t) for t in tensors)
    return found


def _module_name(node: str) -> str:
    """Name of the module that a traced node comes from: /net/a/a.0/a.0.1/Conv is of a.0.1.

    Of a module that is called twice the second node's name ends in _1.
    """
    parts: list[str] = []
    for part in re.sub(r"(_\d+)?/Conv$", "", node).split("/")[2:]:
        while parts and part.startswith(parts[-1] + "."):
            parts.pop()
        parts.append(part)
    return ".".join(parts)
