"""An exported file read back into a network: its folded batch norms are unfolded again.

So shipped weights, which are ONNX files, can be trained further and exported in another form.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdc_core.config import ModelInfo
from kdc_core.engines import read_info
from kdc_core.errors import InputError
from kdc_core.network import KdcNet, fill, for_inference, preset


def read_exported(path: Path) -> tuple[KdcNet, ModelInfo]:
    """The network of a float32 file of ``kdc export``; every batch norm only adds its bias.

    Its answers are those of the file. Before training it needs ``training.exported``.

    Raises:
        ValueError: not such a file.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a file of `kdc export`, it does not exist")
    info = read_info(path)
    weights = _convolutions(path)
    net = KdcNet(replace(for_inference(preset(info.preset)), octaves=info.octaves)).eval()
    norms = batch_norms(net)
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
    return net, info


def _named(net: nn.Module, kinds: Any) -> dict[str, nn.Module]:
    return {name: module for name, module in net.named_modules() if isinstance(module, kinds)}


def batch_norms(net: nn.Module) -> dict[str, str]:
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
        raise InputError(f"{path}: expected float32, it is quantised; take what it was made from")
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
