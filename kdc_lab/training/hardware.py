"""Where a training process computes: device, precision, and its place among the processes."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass

import torch
import torch.distributed as dist

from kdc_core.errors import InputError
from kdc_core.system import cpu
from kdc_lab.training.data import Pack
from kdc_lab.training.train_config import TrainConfig

#: of glibc's malloc.h
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


@dataclass(frozen=True)
class Site:
    """Where this process computes."""

    device: torch.device
    bf16: bool
    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0


def find_site(config: TrainConfig) -> Site:
    """Device and rank; ``torchrun`` sets the environment."""
    cuda = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
    if cuda and not torch.cuda.is_available():
        raise InputError("--device cuda: expected a GPU, torch finds none; use --device cpu")
    world = int(os.environ.get("WORLD_SIZE", 1))
    rank = int(os.environ.get("RANK", 0))
    device = torch.device("cpu")
    if cuda:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True  # all crops have one size
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    if config.batch % (world * config.accumulate):
        raise InputError(
            f"--batch: expected a multiple of {world} processes times {config.accumulate} parts "
            f"(--accumulate), got {config.batch}"
        )
    bf16 = config.precision == "bf16" or (config.precision == "auto" and _has_bf16(device))
    return Site(device, bf16, rank, world)


def keep_memory() -> None:
    """Have glibc keep what this process frees; elsewhere nothing happens.

    A step on a CPU takes and frees gigabytes in maps too large for malloc's heap: handed back each
    time, they come again as pages that the kernel has to clear, a quarter of the time of a step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, 1 << 28)):
            mallopt(option, value)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu.has_bf16()


def keep_resident(config: TrainConfig, pack: Pack, site: Site) -> bool:
    """Whether the decoded pictures stay in the device's memory."""
    if config.resident != "auto":
        return config.resident == "yes"
    needed = len(pack) * int(pack.size.max(initial=0)) ** 2 * 5
    if site.device.type == "cuda":
        return needed < 0.3 * torch.cuda.mem_get_info(site.device)[0]
    return False  # on CPUs the network, not the decoder, takes the time
