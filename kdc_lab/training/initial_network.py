"""Build the network that a training run starts from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from kdc_core.errors import InputError
from kdc_core.network import KdcNet, load_published, load_tensors, load_torch_file, preset
from kdc_lab.training.init_from_onnx import network_from_export
from kdc_lab.training.train_config import TrainConfig

log = logging.getLogger(__name__)


def initial_network(config: TrainConfig) -> KdcNet:
    """Return the network of ``config.preset`` with its initial weights.

    Without ``config.init`` the backbone is a published one and the heads are random. From a
    checkpoint with another backbone only the heads are used.

    Raises:
        InputError: ``config.init`` is no KDC checkpoint or does not fit the preset.
    """
    if is_exported(config.init):
        return network_from_export(Path(config.init), config.preset)
    net = KdcNet(preset(config.preset))
    content: Any = load_torch_file(Path(config.init)) if config.init else None
    if config.init and not (isinstance(content, dict) and {"model", "network"} <= content.keys()):
        raise InputError(f"{config.init}: expected a KDC checkpoint, but it has no 'model'")
    if content and content["network"]["backbone"] == net.config.backbone:
        load_tensors(net, content["model"], config.init)
        return net
    if content:
        log.info("%s has another backbone: only its heads are used", config.init)
        _fill_heads(net, content["model"], config.init)
    if config.backbone_weights != "none":
        path = None if config.backbone_weights == "published" else Path(config.backbone_weights)
        load_published(net.backbone, net.config.backbone, path)
    return net


def is_exported(init: str) -> bool:
    """Return True if a run starts from a file of ``kdc export``."""
    return Path(init).suffix == ".onnx"


def _fill_heads(net: KdcNet, state: dict[str, torch.Tensor], source: str) -> None:
    """Fill the heads except for the layers that read the maps of the backbone."""
    heads = {k.removeprefix("heads."): v for k, v in state.items() if k.startswith("heads.")}
    inputs = tuple(k for k in net.heads.state_dict() if "lateral" in k)
    load_tensors(
        net.heads, {k: v for k, v in heads.items() if k not in inputs}, source, may_lack=inputs
    )
