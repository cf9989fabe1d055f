"""Save and load the state of a run; a kill at any moment leaves a complete file behind."""

from __future__ import annotations

import os
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdc_core.config import ModelInfo
from kdc_core.errors import InputError
from kdc_core.network import KdcNet, load_torch_file


class WeightAverage:
    """Exponential moving average of a network's weights and batch statistics (Polyak)."""

    def __init__(self, net: KdcNet, decay: float) -> None:
        """Start at the weights of ``net``; ``decay`` applies per step."""
        self.net = KdcNet(net.config).eval().requires_grad_(False)
        self.net.to(next(net.parameters()).device, memory_format=torch.channels_last)
        self.net.load_state_dict(net.state_dict())
        self.decay = decay
        self._pairs = _floating(self.net), _floating(net)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the network, faster in the first steps to forget the random start."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(*self._pairs, 1 - decay)


def _floating(module: nn.Module) -> list[torch.Tensor]:
    return [t for t in module.state_dict().values() if t.is_floating_point()]


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a file and then rename it, so that the old file stays until the new one is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def load(path: Path) -> dict[str, Any]:
    """Return the state of a run.

    Raises:
        InputError: The file is not the state of a run.
    """
    content = load_torch_file(path)
    missing = {"model", "ema", "optimizer", "step", "config", "network"} - set(
        content if isinstance(content, dict) else ()
    )
    if missing:
        raise InputError(f"{path} is not the state of a run: it lacks {', '.join(sorted(missing))}")
    return content


def export(path: Path, net: KdcNet, info: ModelInfo, train: dict[str, Any]) -> None:
    """Write the weights alone, convolutions in half precision, for engines and ``kdc export``."""
    state = {
        name: t.half() if t.ndim >= 2 else t.clone()  # variances may exceed half precision
        for name, t in net.state_dict().items()
    }
    content = {"model": state, "info": asdict(info), "network": asdict(net.config), "train": train}
    save(path, content)


def commit() -> str:
    """Return the Git commit of the source, or "unknown" outside a checkout."""
    folder = Path(__file__).resolve().parent
    try:
        command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
