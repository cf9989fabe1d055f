"""Choose where a training process computes: device, precision, and its rank among processes."""

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

#: options of mallopt, from glibc's malloc.h
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


@dataclass(frozen=True)
class DistributedContext:
    """Device and precision of this process, and its rank among the processes of a run."""

    device: torch.device
    bf16: bool
    rank: int = 0
    world: int = 1

    def any(self, flag: bool) -> bool:
        """Return True if the flag is set in any process."""
        if self.world == 1:
            return flag
        common = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(common)
        return bool(common > 0)

    def broadcast(self, value: float) -> float:
        """Return the value of the first process."""
        if self.world == 1:
            return value
        common = torch.tensor(value, device=self.device)
        dist.broadcast(common, 0)
        return float(common)

    @property
    def is_main(self) -> bool:
        """Return True for the one process that writes files."""
        return self.rank == 0


def find_context(config: TrainConfig) -> DistributedContext:
    """Return the context of this process; ``torchrun`` sets the environment that it reads.

    Raises:
        InputError: There is no GPU for ``--device cuda``, or the batch cannot be split.
    """
    cuda = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
    if cuda and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no GPU; use --device cpu")
    world = int(os.environ.get("WORLD_SIZE", 1))
    rank = int(os.environ.get("RANK", 0))
    device = torch.device("cpu")
    if cuda:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True  # all crops have the same size
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    if config.batch % (world * config.accumulate):
        raise InputError(
            f"--batch: expected a multiple of {world * config.accumulate} ({world} processes times "
            f"{config.accumulate} parts of --accumulate), got {config.batch}"
        )
    bf16 = config.precision == "bf16" or (config.precision == "auto" and _has_bf16(device))
    return DistributedContext(device, bf16, rank, world)


def keep_freed_memory() -> None:
    """Make glibc keep the memory that this process frees; do nothing elsewhere.

    A training step on a CPU allocates and frees gigabytes in blocks that are too large for malloc's
    heap. Given back each time, they return as pages that the kernel has to clear first, which takes
    a quarter of a step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, 1 << 28)):
            mallopt(option, value)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu.has_bf16()


def keep_resident(config: TrainConfig, pack: Pack, context: DistributedContext) -> bool:
    """Return True if the decoded images should stay in the device's memory."""
    if config.resident != "auto":
        return config.resident == "yes"
    needed = len(pack) * int(pack.size.max(initial=0)) ** 2 * 5
    if context.device.type == "cuda":
        return needed < 0.3 * torch.cuda.mem_get_info(context.device)[0]
    return False  # on CPUs the network takes the time, not the JPEG decoder
