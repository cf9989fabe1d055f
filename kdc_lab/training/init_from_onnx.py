"""Start training from an exported file: give its folded batch norms statistics again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from kdc_core.errors import InputError
from kdc_core.network import KdcNet, preset
from kdc_lab.convert import batch_norms, read_exported


def network_from_export(path: Path, name: str) -> KdcNet:
    """Return the network of a file of ``kdc export`` in its form for training.

    Call ``fill_norm_statistics`` before training.

    Raises:
        InputError: The file is no export, or has another preset than ``name``.
    """
    exported, info = read_exported(path)
    if info.preset != name:
        raise InputError(f"{path}: expected a file of the preset {name}, got one of {info.preset}")
    net = KdcNet(replace(preset(name), octaves=info.octaves))
    net.load_state_dict(exported.state_dict())
    return net


@torch.no_grad()
def fill_norm_statistics(net: KdcNet, images: Iterable[Tensor]) -> None:
    """Give the batch norms the statistics of images without changing any output.

    Training normalises with the statistics of a batch, so norms with other statistics would change
    the network in the first step. Kernels are scaled to the size of new ones, for which learning
    rates are chosen.

    Args:
        net: Network, changed in place.
        images: (B, 3, H, W) float tensors.
    """
    norms = batch_norms(net)
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
