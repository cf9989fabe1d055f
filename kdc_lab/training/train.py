"""``kdc train``: train a network on annotated images; the loop over the steps of a run."""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tqdm import tqdm

from kdc_core.errors import InputError
from kdc_core.network import LONGEST, KdcNet, NetworkConfig, load_tensors
from kdc_core.system import deferred
from kdc_lab.training import checkpoint
from kdc_lab.training.augment import AugmentConfig
from kdc_lab.training.batch import Batch
from kdc_lab.training.coco_reader import LoadReport
from kdc_lab.training.data import Pack
from kdc_lab.training.depthwise import use_fast_depthwise
from kdc_lab.training.hardware import find_context, keep_freed_memory
from kdc_lab.training.init_from_onnx import fill_norm_statistics
from kdc_lab.training.initial_network import initial_network, is_exported
from kdc_lab.training.losses import Loss, LossConfig
from kdc_lab.training.pack import read_all
from kdc_lab.training.schedule import learning_rate, progress
from kdc_lab.training.synthetic_pool import count_iterations, open_pool, read_rendered
from kdc_lab.training.train_config import (
    PRESET_AUGMENT,
    WEAK_AUGMENT,
    WEAK_AUGMENT_OF_PRESET,
    TrainConfig,
    add_arguments,
    config_from,
)
from kdc_lab.training.training_log import TrainingLogger, draw_batch
from kdc_lab.training.training_step import (
    build_optimizer,
    load_batches,
    log_tuning_loss,
    set_training_mode,
    training_step,
    wrap_network,
)

MAX_SKIPPED = 20  # consecutive steps without a finite loss, after which the run stops
NORM_STEPS = 8  # steps whose images give the batch norms of an exported file their statistics
STATE = "state.pt"  # in the folder of a run: everything needed to resume it
WEIGHTS = "ema.pt"  # in the folder of a run: the averaged weights

log = logging.getLogger(__name__)


class LossNotFiniteError(RuntimeError):
    """The loss was not finite for ``MAX_SKIPPED`` consecutive steps."""


def train(
    config: TrainConfig,
    pack: Pack,
    augment: AugmentConfig | None = None,
    resume: bool = False,
    rendered: Pack | None = None,
    negatives: Sequence[Path] = (),
) -> Path:
    """Train a network and return the path of its averaged weights.

    Args:
        config: Settings of the run.
        pack: Images; the tuning split is only used to measure the loss.
        augment: Augmentation; ``crop`` and ``longest`` come from ``config``. Default: that of
            the preset.
        resume: Continue the run in ``config.out`` if there is one.
        rendered: Images of rendered people for ``config.synth``. None renders while training.
        negatives: Folders of images without people, the backgrounds of rendered people.

    Raises:
        InputError: There is nothing to train on, or a checkpoint does not fit.
        LossNotFiniteError: The loss was not finite for ``MAX_SKIPPED`` consecutive steps.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the step is finished and the run is saved.
    """
    return Trainer(config, pack, augment, resume, rendered, negatives).run()


class Trainer:
    """One training run in this process: network, optimiser, data, and the current step."""

    def __init__(
        self,
        config: TrainConfig,
        pack: Pack,
        augment: AugmentConfig | None,
        resume: bool,
        rendered: Pack | None,
        negatives: Sequence[Path],
    ) -> None:
        """See ``train``."""
        self.context = find_context(config)
        self.out = Path(config.out)
        self.longest = config.longest or LONGEST[config.preset]
        base = augment or AugmentConfig(**PRESET_AUGMENT.get(config.preset, {}))
        self.augment = replace(base, crop=config.crop, longest=self.longest)
        weak = {**WEAK_AUGMENT, **WEAK_AUGMENT_OF_PRESET.get(config.preset, {})}
        self.weak_augment = replace(self.augment, **weak)
        self.pool = open_pool(config, pack, rendered, negatives, self.context)
        if config.epochs:
            config = replace(config, iterations=count_iterations(config, self.pool))
        self.config = config

        torch.manual_seed(config.seed)
        state_path = self.out / STATE
        state = checkpoint.load(state_path) if resume and state_path.exists() else None
        self.net = self._build_network(state)
        self.info = self.net.config.info(config.preset, self.longest)
        self.loss = Loss(self.info, LossConfig())
        self.average = checkpoint.WeightAverage(self.net, config.ema)
        self.optimizer = build_optimizer(self.net, config)
        self.step, self.elapsed = 0, 0.0  # finished steps, seconds of training
        if state:
            self._restore(state)
            log.info("resumed at step %d after %.1f minutes", self.step, self.elapsed / 60)
        elif resume:
            log.info("%s: nothing to resume, starting a new run", self.out)
        if self.context.device.type == "cpu" and not config.compile:
            count = use_fast_depthwise(self.net)
            log.info("%d depthwise convolutions train with compiled gradients", count)
        self.wrapped = wrap_network(self.net, config, self.context)
        self.logger = TrainingLogger(self.out, self.step) if self.context.is_main else None
        self.tuning = pack.tuning()
        self._skipped = 0  # consecutive steps without a finite loss

    def run(self) -> Path:
        """Train until the run, the session or the user ends it; see ``train``."""
        config, context = self.config, self.context
        start = self._session_start = self._saved = time.monotonic()
        start -= self.elapsed
        bar = tqdm(total=config.iterations, initial=self.step, disable=not context.is_main)
        # the pool closes first, so that no thread waits for images of a step that will not come
        with (
            ThreadPoolExecutor(max_workers=1) as self._loader,
            contextlib.closing(self.pool),
            deferred() as stop_signals,
        ):
            upcoming = self._load_ahead(self.step, self._progress())
            while True:
                self.elapsed = time.monotonic() - start
                share = self._progress()
                if share >= 1 or context.any(self._session_is_over() or bool(stop_signals)):
                    break
                batches = upcoming.result()
                upcoming = self._load_ahead(self.step + 1, share)
                scalars = self._optimise(batches, share)
                bar.update()
                if context.is_main:
                    self._log(batches, scalars, share, bar)
                    if time.monotonic() - self._saved >= config.checkpoint_minutes * 60:
                        self._save()
                        self._saved = time.monotonic()
        bar.close()
        if context.is_main:
            self._finish(interrupted=bool(stop_signals))
        if context.world > 1:
            dist.barrier()
            dist.destroy_process_group()
        if stop_signals:
            raise KeyboardInterrupt(stop_signals[0])
        return self.out / WEIGHTS

    def _build_network(self, state: dict[str, Any] | None) -> KdcNet:
        """Return the network on its device, with its frozen layers frozen."""
        config = self.config
        net = KdcNet(NetworkConfig(**state["network"])) if state else initial_network(config)
        net.to(self.context.device, memory_format=torch.channels_last)
        if is_exported(config.init) and not state:
            first = (
                load_batches(self.pool, step, config, self.augment, self.context)
                for step in range(NORM_STEPS)
            )
            fill_norm_statistics(net, (batch.image.float() for parts in first for batch in parts))
        for module in net.backbone.up_to(config.frozen_stride):
            module.requires_grad_(False)
        return net

    def _restore(self, state: dict[str, Any]) -> None:
        path = str(self.out / STATE)
        load_tensors(self.net, state["model"], path)
        load_tensors(self.average.net, state["ema"], path)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed = int(state["step"]), float(state["elapsed"])

    def _progress(self) -> float:
        return progress(self.step, self.elapsed, self.config, self.context)

    def _session_is_over(self) -> bool:
        limit = self.config.leg_minutes * 60
        return bool(limit) and time.monotonic() - self._session_start > limit

    def _load_ahead(self, step: int, share: float) -> Future[list[Batch]]:
        """Load a step in another thread; the last steps of a run have weak augmentation."""
        config = self.config
        is_weak = max(share, step / config.iterations) >= 1 - config.weak_aug_fraction
        augment = self.weak_augment if is_weak else self.augment
        return self._loader.submit(load_batches, self.pool, step, config, augment, self.context)

    def _optimise(self, batches: list[Batch], share: float) -> dict[str, Any]:
        """Make one step; return the terms of the loss, the gradient's norm and the rate."""
        config = self.config
        rate = learning_rate(self.step, share, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        set_training_mode(self.net, config)
        values, norm = training_step(
            self.wrapped, self.loss, self.optimizer, batches, self.step, config, self.context
        )
        if math.isfinite(norm):
            self.average.update(self.step)
            self._skipped = 0
        else:
            self._skip_step()
        self.step += 1
        return {**values, "norm": norm, "lr": rate}

    def _skip_step(self) -> None:
        self._skipped += 1
        log.warning("step %d: the gradient is not finite, step skipped", self.step)
        if self._skipped >= MAX_SKIPPED:
            path = self.out / STATE
            saved = f", or start a new run from {path} (--init)" if path.exists() else ""
            raise LossNotFiniteError(
                f"loss not finite for {self._skipped} steps in a row: lower --lr{saved}"
            )

    def _log(
        self, batches: list[Batch], scalars: dict[str, Any], share: float, bar: tqdm[Any]
    ) -> None:
        """Log scalars, sample images and the tuning loss of the last step, each when due."""
        config, step = self.config, self.step
        if step % config.log_every == 0 or step == 1:
            values = {name: float(value) for name, value in scalars.items()}
            self.logger.scalars(step - 1, {**values, "minutes": self.elapsed / 60})
            left = self.elapsed * (1 - share) / max(share, 1e-6) / 60
            bar.set_postfix_str(f"loss {values['total']:.3f}, {left:.0f} min left")
        if step % config.image_every == 0 or step == 1:
            self.logger.image(step - 1, "training", draw_batch(batches[0]))
        if step % config.tune_every == 0:
            self._log_tuning_loss()

    def _log_tuning_loss(self) -> None:
        if len(self.tuning):
            log_tuning_loss(
                self.average.net,
                self.loss,
                self.tuning,
                self.longest,
                self.logger,
                self.step - 1,
                self.context,
            )

    def _save(self) -> None:
        content = {
            "model": self.net.state_dict(),
            "ema": self.average.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
            "config": asdict(self.config),
            "info": asdict(self.info),
            "network": asdict(self.net.config),
            "commit": checkpoint.commit(),
        }
        checkpoint.save(self.out / STATE, content)
        facts = {k: content[k] for k in ("step", "elapsed", "config", "commit")}
        checkpoint.export(self.out / WEIGHTS, self.average.net, self.info, facts)

    def _finish(self, interrupted: bool) -> None:
        self._save()
        is_due = self.step % self.config.tune_every != 0  # otherwise the last step logged it
        if is_due and not interrupted:
            self._log_tuning_loss()
        self.logger.close()
        path = self.out / WEIGHTS
        log.info("%d steps, %.1f minutes; weights: %s", self.step, self.elapsed / 60, path)


def main(args: argparse.Namespace) -> int:
    """Read the sources, train, and return the exit code."""
    state = Path(args.out or TrainConfig.out) / STATE
    before = checkpoint.load(state)["config"] if args.resume and state.exists() else None
    config = config_from(args, before)
    for name in () if args.resume else (STATE, WEIGHTS):
        if (Path(config.out) / name).exists():
            raise InputError(
                f"{config.out} contains a run: use --resume to continue it, or another --out"
            )
    keep_freed_memory()
    pack, report = read_all(args.data, args.extra, args.negatives)
    log.info("%s", report)
    rendered = None
    if args.synth_data:
        if not config.synth:
            raise InputError("--synth-data needs a share of rendered images, such as --synth 0.3")
        report = LoadReport()
        rendered = read_rendered(args.synth_data, report)
        log.info("rendered: %s", report)
    try:
        train(config, pack, None, args.resume, rendered, args.negatives)
    except LossNotFiniteError as error:
        raise InputError(str(error)) from None
    return 0


__all__ = ["LossNotFiniteError", "TrainConfig", "Trainer", "add_arguments", "main", "train"]
