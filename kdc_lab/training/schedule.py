"""Schedule a training run: its progress, and the learning rate that follows from it."""

from __future__ import annotations

import math

from kdc_lab.training.hardware import DistributedContext
from kdc_lab.training.train_config import TrainConfig


def progress(step: int, elapsed: float, config: TrainConfig, context: DistributedContext) -> float:
    """Return the finished share of a run, by steps or by time, whichever is larger.

    Args:
        step: Number of finished steps.
        elapsed: Seconds of training so far, over all sessions.
        config: Length of the run.
        context: Processes of the run; they all use the clock of the first one.
    """
    share = step / config.iterations
    if config.minutes:
        share = context.broadcast(max(share, elapsed / (60 * config.minutes)))
    return share


def learning_rate(step: int, share: float, config: TrainConfig) -> float:
    """Return the learning rate: a linear warm-up, then half a cosine over the finished share."""
    if config.constant_lr:
        return config.lr
    cosine = (1 + math.cos(math.pi * min(share, 1.0))) / 2
    warm_up = min(1.0, (step + 1) / max(1, config.warm_up))
    return config.lr * warm_up * (config.final_lr + (1 - config.final_lr) * cosine)
