"""Read an exported ONNX file back into a network.

Shipped weights are ONNX files. Reading them back allows to train them further and to export them
with other settings.
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
from kdc_core.network import KdcNet, for_inference, load_tensors, preset


def read_exported(path: Path) -> tuple[KdcNet, ModelInfo]:
    """Read a float32 file of ``kdc export``.

    Batch norms were folded at export. Here each one only adds its bias, so that the outputs equal
    those of the file. ``kdc_lab.training.init_from_onnx`` restores them for training.

    Returns:
        The network in ``eval`` mode, and its metadata.

    Raises:
        InputError: the file does not exist, is quantised, or was not written by ``kdc export``.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a file of kdc export, it does not exist")
    info = read_info(path)
    weights = convolutions(path)
    net = KdcNet(replace(for_inference(preset(info.preset)), octaves=info.octaves)).eval()
    norms = batch_norms(net)
    state = {}
    for conv in _named(net, nn.Conv2d).keys() & weights.keys():
        kernel, *bias = weights[conv]
        state[f"{conv}.weight"] = kernel
        if bias and conv in norms:
            norm = net.get_submodule(norms[conv])
            assert isinstance(norm, nn.BatchNorm2d)
            norm_state = _adding(bias[0], norm)
            state |= {f"{norms[conv]}.{key}": value for key, value in norm_state.items()}
        elif bias:
            state[f"{conv}.bias"] = bias[0]
    load_tensors(net, state, str(path))
    return net, info


def _named(net: nn.Module, kinds: Any) -> dict[str, nn.Module]:
    return {name: module for name, module in net.named_modules() if isinstance(module, kinds)}


def batch_norms(net: nn.Module) -> dict[str, str]:
    """Return the name of each convolution before a batch norm, and the name of that norm."""
    modules = _named(net, nn.Conv2d | nn.BatchNorm2d)
    return {
        conv: norm for conv, norm in pairwise(modules) if isinstance(modules[norm], nn.BatchNorm2d)
    }


def _adding(bias: Tensor, norm: nn.BatchNorm2d) -> dict[str, Tensor]:
    """Return the state of a batch norm that only adds ``bias``."""
    one = torch.ones_like(bias)
    return {"weight": one, "bias": bias, "running_mean": 0 * one, "running_var": one - norm.eps}


def convolutions(path: Path) -> dict[str, tuple[Tensor, ...]]:
    """Return kernel and bias (if any) of every convolution by the name of its module."""
    import onnx

    try:
        graph = onnx.load(path).graph
    except Exception as error:  # onnx raises its own kinds if external data are missing
        raise InputError(f"{path}: cannot read its weights: {error}") from None
    constants = {t.name: t for t in graph.initializer}
    if any(node.op_type == "DequantizeLinear" for node in graph.node):
        raise InputError(f"{path}: expected float32, but it is quantised; use the original file")
    found = {}
    for node in graph.node:
        names = list(node.input[1:])
        if node.op_type == "Conv" and all(n in constants for n in names):
            tensors = (onnx.numpy_helper.to_array(constants[name]) for name in names)
            found[module_name(node.name)] = tuple(torch.tensor(t) for t in tensors)
    return found


def module_name(node: str) -> str:
    """Return the name of a traced node's module: a.0.1 for /net/a/a.0/a.0.1/Conv.

    If a module is called twice, the name of its second node ends in _1.
    """
    parts: list[str] = []
    for part in re.sub(r"(_\d+)?/Conv$", "", node).split("/")[2:]:
        while parts and part.startswith(parts[-1] + "."):
            parts.pop()
        parts.append(part)
    return ".".join(parts)
