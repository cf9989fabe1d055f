"""The parts of one training step: load its batches, set the modes, optimise, and measure.

Nothing random survives a step. Order, augmentation, loss and dropout are seeded from (seed, step,
rank), so a run that was killed and resumed gives the same curve as an unbroken one.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from kdc_core.network import KdcNet
from kdc_lab.training.augment import PLAIN, AugmentConfig
from kdc_lab.training.augment_torch import make_batch
from kdc_lab.training.batch import Batch
from kdc_lab.training.data import Pack, Pool
from kdc_lab.training.hardware import DistributedContext
from kdc_lab.training.losses import Loss
from kdc_lab.training.synthetic_pool import LivePool, step_indices
from kdc_lab.training.train_config import TrainConfig
from kdc_lab.training.training_log import TrainingLogger, draw_prediction

RENDER_AHEAD = 16  # steps whose images are rendered in advance
TUNING_BATCH = 16  # images; limits the memory of a forward pass at full size


def load_batches(
    pool: Pool | LivePool,
    step: int,
    config: TrainConfig,
    augment: AugmentConfig,
    context: DistributedContext,
) -> list[Batch]:
    """Return this process's share of a step, in ``config.accumulate`` parts."""
    indices = step_indices(pool, step, config)[context.rank :: context.world]
    if isinstance(pool, LivePool):
        for later in range(step, step + RENDER_AHEAD):
            pool.prefetch(step_indices(pool, later, config)[context.rank :: context.world])
    rng = np.random.default_rng([config.seed, step, context.rank])
    return [
        make_batch(pool, part, rng, augment)
        for part in np.array_split(indices, config.accumulate)
        if len(part)
    ]


def training_step(
    net: nn.Module,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    batches: list[Batch],
    step: int,
    config: TrainConfig,
    context: DistributedContext,
) -> tuple[dict[str, torch.Tensor], float]:
    """Make one optimiser step; with a norm that is not finite, weights and moments stay.

    Returns:
        The terms of the loss and their "total", and the norm of the gradient before clipping.
    """
    seed = (config.seed * 1_000_003 + step) * 4099 + context.rank
    torch.manual_seed(seed)
    generator = torch.Generator(context.device).manual_seed(seed)
    optimizer.zero_grad(set_to_none=True)
    sums: dict[str, torch.Tensor] = {}
    for number, batch in enumerate(batches, start=1):
        accumulates = number < len(batches) and context.world > 1
        with net.no_sync() if accumulates else contextlib.nullcontext():
            total, values, _ = _forward(net, loss, batch, context, generator)
            (total / len(batches)).backward()
        for name, value in {"total": total.detach(), **values}.items():
            sums[name] = sums.get(name, 0) + value / len(batches)
    norm = float(nn.utils.clip_grad_norm_(net.parameters(), config.clip))
    if math.isfinite(norm):
        optimizer.step()
    return sums, norm


@torch.no_grad()
def log_tuning_loss(
    net: nn.Module,
    loss: Loss,
    pack: Pack,
    longest: int,
    logger: TrainingLogger,
    step: int,
    context: DistributedContext,
) -> None:
    """Log the loss on the tuning split, whose images are letterboxed as at inference.

    Args:
        net: Network with the averaged weights.
        loss: Loss of the run.
        pack: Tuning split.
        longest: Longest side of the network input in pixels.
        logger: Receives ``tune/`` terms and an image of the first predictions.
        step: Step of the entry.
        context: Device and precision.
    """
    side = -(-longest // 32) * 32
    plain = replace(PLAIN, crop=side, longest=longest)
    pool = Pool(pack, context.device, resident=False)
    sums: dict[str, float] = {}
    for start in range(0, len(pool), TUNING_BATCH):
        indices = np.arange(start, min(start + TUNING_BATCH, len(pool)))
        batch = make_batch(pool, indices, np.random.default_rng(0), plain)
        generator = torch.Generator(context.device).manual_seed(start)
        total, values, (fields_logits, seg_logits) = _forward(net, loss, batch, context, generator)
        for name, value in {"total": total, **values}.items():
            key = f"tune/{name}"
            sums[key] = sums.get(key, 0.0) + float(value) * len(indices) / len(pool)
        if start == 0:
            logger.image(step, "tune", draw_prediction(batch, fields_logits[:, :18], seg_logits))
    logger.scalars(step, sums)


def _forward(
    net: nn.Module,
    loss: Loss,
    batch: Batch,
    context: DistributedContext,
    generator: torch.Generator,
) -> tuple[torch.Tensor, dict[str, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Return the loss, its terms and the logits of a batch."""
    image = batch.image.float().contiguous(memory_format=torch.channels_last)
    with torch.autocast(context.device.type, torch.bfloat16, enabled=context.bf16):
        logits = net(image)
    return *loss(*logits, batch, generator), logits


def build_optimizer(net: KdcNet, config: TrainConfig) -> torch.optim.Optimizer:
    """Return AdamW with groups for the backbone and the rest; each holds a ``factor`` for lr."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        # scales and biases of norms do not decay
        groups.setdefault((name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "factor": config.backbone_lr if in_backbone else 1.0,
                "weight_decay": config.weight_decay if decays else 0.0,
            }
            for (in_backbone, decays), parameters in groups.items()
        ],
        lr=config.lr,
        fused=next(net.parameters()).is_cuda,
    )


def wrap_network(net: KdcNet, config: TrainConfig, context: DistributedContext) -> nn.Module:
    """Return the network compiled and distributed over processes, as configured."""
    wrapped: nn.Module = torch.compile(net) if config.compile else net
    if context.world > 1:
        ids = [context.device.index] if context.device.type == "cuda" else None
        wrapped = nn.parallel.DistributedDataParallel(wrapped, device_ids=ids)
    return wrapped


def set_training_mode(net: KdcNet, config: TrainConfig) -> None:
    """Set the training mode, but keep the batch statistics of frozen layers."""
    net.train()
    frozen = [net.backbone] if config.freeze_norm else net.backbone.up_to(config.frozen_stride)
    for module in (module for part in frozen for module in part.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
