"""State of a run on disk: written so that a kill at any moment leaves a whole file behind."""

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


class Average:
    """Exponential moving average of a network's weights and batch statistics (Polyak)."""

    def __init__(self, net: KdcNet, decay: float) -> None:
        """Starts at the weights of ``net``."""
        self.net = KdcNet(net.config).eval().requires_grad_(False)
        self.net.to(next(net.parameters()).device, memory_format=torch.channels_last)
        self.net.load_state_dict(net.state_dict())
        self.decay = decay
        self._pairs = _floating(self.net), _floating(net)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the network; in the first steps faster, to forget the random start."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(*self._pairs, 1 - decay)


def _floating(module: nn.Module) -> list[torch.Tensor]:
    return [t for t in module.state_dict().values() if t.is_floating_point()]


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a file under another name first: the old file stays until the new one is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def load(path: Path) -> dict[str, Any]:
    """Read a run's state; ValueError if it is something else."""
    content = load_torch_file(path)
    missing = {"model", "ema", "optimizer", "step", "config", "network"} - set(
        content if isinstance(content, dict) else ()
    )
    if missing:
        raise InputError(f"{path}: not the state of a run: lacks {', '.join(sorted(missing))}")
    return content


def export(path: Path, net: KdcNet, info: ModelInfo, train: dict[str, Any]) -> None:
    """Write the weights alone, convolutions in half precision: what engines and export read."""
    state = {
        name: t.half() if t.ndim >= 2 else t.clone()  # variances may exceed half precision
        for name, t in net.state_dict().items()
    }
    content = {"model": state, "info": asdict(info), "network": asdict(net.config), "train": train}
    save(path, content)


def commit() -> str:
    """Git commit of the source, or "unknown" outside a checkout."""
    folder = Path(__file__).resolve().parent
    try:
        command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
