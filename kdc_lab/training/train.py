"""``kdc train``: one readable loop from annotated pictures to weights.

Nothing random survives a step: order, augmentation, loss and dropout are all seeded from (seed,
step, rank). So a run that was killed and resumed gives the curve of an unbroken one.
"""

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

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from tqdm import tqdm

from kdc_core.errors import InputError
from kdc_core.network import (
    LONGEST,
    KdcNet,
    NetworkConfig,
    load_published,
    load_tensors,
    load_torch_file,
    preset,
)
from kdc_core.system import deferred
from kdc_lab.training import checkpoint
from kdc_lab.training.augment import PLAIN, AugmentConfig
from kdc_lab.training.augment_torch import make_batch
from kdc_lab.training.batch import Batch
from kdc_lab.training.coco_reader import LoadReport
from kdc_lab.training.data import Pack, Pool
from kdc_lab.training.depthwise import use_fast_depthwise
from kdc_lab.training.hardware import Site, find_site, keep_memory
from kdc_lab.training.init_from_onnx import normalise, starting_network
from kdc_lab.training.losses import Loss, LossConfig
from kdc_lab.training.pack import read_all
from kdc_lab.training.synthetic_pool import LivePool, iterations, open_pool, order_of, read_rendered
from kdc_lab.training.train_config import (
    AUGMENT,
    CALM,
    CALM_AUGMENT,
    TrainConfig,
    add_arguments,
    from_arguments,
)
from kdc_lab.training.training_log import Journal, draw_answer, draw_batch

MAX_SKIPPED = 20  # steps in a row without a finite loss, then the run stops
AHEAD = 16  # steps whose pictures are begun to be rendered
NORM_STEPS = 8  # steps whose pictures tell the batch norms of an exported file their statistics
STATE = "state.pt"  # in the folder of a run: all that resuming needs
TUNE_BATCH = 16  # pictures; memory of a forward pass at full size

log = logging.getLogger(__name__)


def train(
    config: TrainConfig, pack: Pack, augment: AugmentConfig | None = None, resume: bool = False,
    rendered: Pack | None = None, negatives: Sequence[Path] = (),
) -> Path:  # fmt: skip
    """Train and return the path of the averaged weights.

    Args:
        config: how.
        pack: pictures; its tuning split is only looked at, never trained on.
        augment: how pictures are varied; ``crop`` and ``longest`` are taken from ``config``.
        resume: continue the run in ``config.out`` if there is one.
        rendered: pictures of rendered people for ``config.synth``; None: render while training …
        negatives: … in front of the pictures of these folders, which show nobody.

    Raises:
        ValueError: nothing to train on, or a checkpoint that does not fit.
        RuntimeError: the loss stayed not finite for ``MAX_SKIPPED`` steps.
        KeyboardInterrupt: Ctrl-C or SIGTERM, once the step is done and the run is saved.
    """
    site = find_site(config)
    out = Path(config.out)
    longest = config.longest or LONGEST[config.preset]
    base = augment or AugmentConfig(**AUGMENT.get(config.preset, {}))
    augment = replace(base, crop=config.crop, longest=longest)
    calm = replace(augment, **CALM, **CALM_AUGMENT.get(config.preset, {}))
    pool = open_pool(config, pack, rendered, negatives, site)
    if config.epochs:
        config = replace(config, iterations=iterations(config, pool))

    torch.manual_seed(config.seed)
    state_path = out / STATE
    state = checkpoint.load(state_path) if resume and state_path.exists() else None
    net = KdcNet(NetworkConfig(**state["network"])) if state else _network(config)
    net.to(site.device, memory_format=torch.channels_last)
    if _is_exported(config.init) and not state:
        first = (_batches(pool, step, config, augment, site) for step in range(NORM_STEPS))
        normalise(net, (batch.image.float() for parts in first for batch in parts))
    for module in net.backbone.up_to(config.frozen_stride):
        module.requires_grad_(False)
    info = net.config.info(config.preset, longest)
    loss = Loss(info, LossConfig())
    average = checkpoint.Average(net, config.ema)
    optimizer = _optimizer(net, config)
    step, elapsed = 0, 0.0
    if state:
        step, elapsed = _restore(state, net, average, optimizer, state_path)
        log.info("resumed at step %d after %.1f minutes", step, elapsed / 60)
    elif resume:
        log.info("%s: nothing to resume, a new run begins", out)
    if site.device.type == "cpu" and not config.compile:
        count = use_fast_depthwise(net)
        log.info("%d depthwise convolutions train with compiled gradients", count)
    wrapped = _wrap(net, config, site)
    journal = Journal(out, step) if site.leads else None
    tuning = pack.tuning()

    def save() -> None:
        content = {
            "model": net.state_dict(), "ema": average.net.state_dict(),
            "optimizer": optimizer.state_dict(), "step": step, "elapsed": elapsed,
            "config": asdict(config), "info": asdict(info), "network": asdict(net.config),
            "commit": checkpoint.commit(),
        }  # fmt: skip
        checkpoint.save(state_path, content)
        facts = {k: content[k] for k in ("step", "elapsed", "config", "commit")}
        checkpoint.export(out / "ema.pt", average.net, info, facts)

    started, leg_start, saved = time.monotonic() - elapsed, time.monotonic(), time.monotonic()
    skipped, bar = 0, tqdm(total=config.iterations, initial=step, disable=not site.leads)

    def ahead_of(step: int, progress: float) -> Future[list[Batch]]:
        over = max(progress, step / config.iterations) >= 1 - config.calm
        return ahead.submit(_batches, pool, step, config, calm if over else augment, site)

    # closed first, the pool keeps nobody waiting for pictures of a step that will not come
    with ThreadPoolExecutor(max_workers=1) as ahead, contextlib.closing(pool), deferred() as told:
        parts = ahead_of(step, _progress(step, elapsed, config, site))
        while True:
            elapsed = time.monotonic() - started
            progress = _progress(step, elapsed, config, site)
            leg_over = config.leg_minutes and time.monotonic() - leg_start > config.leg_minutes * 60
            if progress >= 1 or _any(bool(leg_over or told), site):
                break
            batches = parts.result()
            parts = ahead_of(step + 1, progress)

            rate = _rate(step, progress, config)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["factor"]
            _mode(net, config)
            values, norm = _step(wrapped, loss, optimizer, batches, step, config, site)
            if math.isfinite(norm):
                average.update(step)
                skipped = 0
            else:
                skipped += 1
                log.warning("step %d: gradient not finite, step skipped", step)
                if skipped >= MAX_SKIPPED:
                    saved = f", or start anew from {state_path} as it was saved (--init)"
                    raise RuntimeError(
                        f"loss not finite for {skipped} steps in a row: lower --lr"
                        f"{saved if state_path.exists() else ''}"
                    )
            step += 1
            bar.update()
            if not site.leads:
                continue
            if step % config.log_every == 0 or step == 1:
                scalars = {name: float(value) for name, value in values.items()}
                scalars |= {"norm": norm, "lr": rate, "minutes": elapsed / 60}
                journal.scalars(step - 1, scalars)
                bar.set_postfix_str(_postfix(scalars["total"], progress, elapsed))
            if step % config.picture_every == 0 or step == 1:
                journal.picture(step - 1, "training", draw_batch(batches[0]))
            if len(tuning) and step % config.tune_every == 0:
                _tune(average.net, loss, tuning, longest, journal, step - 1, site)
            if time.monotonic() - saved >= config.checkpoint_minutes * 60:
                save()
                saved = time.monotonic()
    bar.close()
    if site.leads:
        save()
        if len(tuning) and step % config.tune_every and not told:  # else it has been done
            _tune(average.net, loss, tuning, longest, journal, step - 1, site)
        journal.close()
        log.info("%d steps, %.1f minutes; weights: %s", step, elapsed / 60, out / "ema.pt")
    if site.world > 1:
        dist.barrier()
        dist.destroy_process_group()
    if told:
        raise KeyboardInterrupt(told[0])
    return out / "ema.pt"


def _batches(
    pool: Pool | LivePool, step: int, config: TrainConfig, augment: AugmentConfig, site: Site
) -> list[Batch]:
    """This process's share of a step, in ``accumulate`` parts."""
    mine = order_of(pool, step, config)[site.rank :: site.world]
    if isinstance(pool, LivePool):
        for later in range(step, step + AHEAD):
            pool.expect(order_of(pool, later, config)[site.rank :: site.world])
    rng = np.random.default_rng([config.seed, step, site.rank])
    return [make_batch(pool, part, rng, augment)
            for part in np.array_split(mine, config.accumulate) if len(part)]  # fmt: skip


def _step(
    net: nn.Module, loss: Loss, optimizer: torch.optim.Optimizer, batches: list[Batch], step: int,
    config: TrainConfig, site: Site,
) -> tuple[dict[str, torch.Tensor], float]:  # fmt: skip
    """One optimiser step; the terms of the loss, and the gradient's norm before clipping.

    A norm that is not finite leaves weights and moments as they were.
    """
    seed = (config.seed * 1_000_003 + step) * 4099 + site.rank
    torch.manual_seed(seed)
    generator = torch.Generator(site.device).manual_seed(seed)
    optimizer.zero_grad(set_to_none=True)
    sums: dict[str, torch.Tensor] = {}
    for number, batch in enumerate(batches, start=1):
        alone = number < len(batches) and site.world > 1
        with net.no_sync() if alone else contextlib.nullcontext():
            image = batch.image.float().contiguous(memory_format=torch.channels_last)
            with torch.autocast(site.device.type, torch.bfloat16, enabled=site.bf16):
                fields_logits, seg_logits = net(image)
            total, values = loss(fields_logits, seg_logits, batch, generator)
            (total / len(batches)).backward()
        for name, value in {"total": total.detach(), **values}.items():
            sums[name] = sums.get(name, 0) + value / len(batches)
    norm = float(nn.utils.clip_grad_norm_(net.parameters(), config.clip))
    if math.isfinite(norm):
        optimizer.step()
    return sums, norm


@torch.no_grad()
def _tune(
    net: nn.Module, loss: Loss, pack: Pack, longest: int, journal: Journal, step: int, site: Site
) -> None:
    """Loss of the averaged weights on the tuning split, letterboxed as at inference."""
    side = -(-longest // 32) * 32
    plain = replace(PLAIN, crop=side, longest=longest)
    pool = Pool(pack, site.device, resident=False)
    sums: dict[str, float] = {}
    for start in range(0, len(pool), TUNE_BATCH):
        indices = np.arange(start, min(start + TUNE_BATCH, len(pool)))
        batch = make_batch(pool, indices, np.random.default_rng(0), plain)
        generator = torch.Generator(site.device).manual_seed(start)
        image = batch.image.float().contiguous(memory_format=torch.channels_last)
        with torch.autocast(site.device.type, torch.bfloat16, enabled=site.bf16):
            fields_logits, seg_logits = net(image)
        total, values = loss(fields_logits, seg_logits, batch, generator)
        for name, value in {"total": total, **values}.items():
            key = f"tune/{name}"
            sums[key] = sums.get(key, 0.0) + float(value) * len(indices) / len(pool)
        if start == 0:
            journal.picture(step, "tune", draw_answer(batch, fields_logits[:, :18], seg_logits))
    journal.scalars(step, sums)


def _network(config: TrainConfig) -> KdcNet:
    """Random heads on a published backbone, or what ``init`` says.

    Of a checkpoint of another backbone only the heads are taken.
    """
    if _is_exported(config.init):
        return starting_network(Path(config.init), config.preset)
    net = KdcNet(preset(config.preset))
    content: Any = load_torch_file(Path(config.init)) if config.init else None
    if config.init and not (isinstance(content, dict) and {"model", "network"} <= content.keys()):
        raise InputError(f"{config.init}: expected a KDC checkpoint, it has no 'model'")
    if content and content["network"]["backbone"] == net.config.backbone:
        load_tensors(net, content["model"], config.init)
        return net
    if content:
        log.info("%s has another backbone: only its heads are taken", config.init)
        _fill_heads(net, content["model"], config.init)
    if config.backbone_weights != "none":
        path = None if config.backbone_weights == "published" else Path(config.backbone_weights)
        load_published(net.backbone, net.config.backbone, path)
    return net


def _is_exported(init: str) -> bool:
    return Path(init).suffix == ".onnx"


def _fill_heads(net: KdcNet, state: dict[str, torch.Tensor], source: str) -> None:
    """Heads of a network with another backbone; what takes in the backbone's maps stays random."""
    heads = {k.removeprefix("heads."): v for k, v in state.items() if k.startswith("heads.")}
    inputs = tuple(k for k in net.heads.state_dict() if "lateral" in k)
    load_tensors(
        net.heads, {k: v for k, v in heads.items() if k not in inputs}, source, may_lack=inputs
    )


def _optimizer(net: KdcNet, config: TrainConfig) -> torch.optim.Optimizer:
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        # scales and biases of norms are few and not to be shrunk
        groups.setdefault((name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "factor": config.backbone_lr if in_backbone else 1.0,
             "weight_decay": config.weight_decay if decays else 0.0}
            for (in_backbone, decays), parameters in groups.items()
        ],
        lr=config.lr, fused=next(net.parameters()).is_cuda,
    )  # fmt: skip


def _wrap(net: KdcNet, config: TrainConfig, site: Site) -> nn.Module:
    wrapped: nn.Module = torch.compile(net) if config.compile else net
    if site.world > 1:
        ids = [site.device.index] if site.device.type == "cuda" else None
        wrapped = nn.parallel.DistributedDataParallel(wrapped, device_ids=ids)
    return wrapped


def _restore(
    state: dict[str, Any], net: KdcNet, average: checkpoint.Average,
    optimizer: torch.optim.Optimizer, path: Path,
) -> tuple[int, float]:  # fmt: skip
    load_tensors(net, state["model"], str(path))
    load_tensors(average.net, state["ema"], str(path))
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), float(state["elapsed"])


def _mode(net: KdcNet, config: TrainConfig) -> None:
    net.train()
    still = [net.backbone] if config.freeze_norm else net.backbone.up_to(config.frozen_stride)
    for module in (module for part in still for module in part.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _progress(step: int, elapsed: float, config: TrainConfig, site: Site) -> float:
    """Share of the run that is over, by steps or by time, whichever is further."""
    share = step / config.iterations
    if config.minutes:
        share = max(share, elapsed / (60 * config.minutes))
    if site.world > 1 and config.minutes:  # the clocks of the processes differ
        common = torch.tensor(share, device=site.device)
        dist.broadcast(common, 0)
        share = float(common)
    return share


def _any(flag: bool, site: Site) -> bool:
    if site.world == 1:
        return flag
    common = torch.tensor(float(flag), device=site.device)
    dist.all_reduce(common)
    return bool(common > 0)


def _rate(step: int, progress: float, config: TrainConfig) -> float:
    """Learning rate: linear warm-up, then half a cosine."""
    if config.constant_lr:
        return config.lr
    cosine = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    warm = min(1.0, (step + 1) / max(1, config.warm_up))
    return config.lr * warm * (config.final_lr + (1 - config.final_lr) * cosine)


def _postfix(total: float, progress: float, elapsed: float) -> str:
    left = elapsed * (1 - progress) / max(progress, 1e-6) / 60
    return f"loss {total:.3f}, {left:.0f} min left"


def main(args: argparse.Namespace) -> int:
    """``kdc train``: read the sources, train, exit code."""
    state = Path(args.out or TrainConfig.out) / STATE
    before = checkpoint.load(state)["config"] if args.resume and state.exists() else None
    config = from_arguments(args, before)
    for name in () if args.resume else (STATE, "ema.pt"):
        if (Path(config.out) / name).exists():
            raise InputError(
                f"{config.out}: there is a run in it: --resume goes on with it, another --out "
                "keeps it"
            )
    keep_memory()
    pack, report = read_all(args.data, args.extra, args.negatives)
    log.info("%s", report)
    rendered = None
    if args.synth_data:
        if not config.synth:
            raise InputError("--synth-data: expected a share of them as well, such as --synth 0.3")
        report = LoadReport()
        rendered = read_rendered(args.synth_data, report)
        log.info("rendered: %s", report)
    try:
        train(config, pack, None, args.resume, rendered, args.negatives)
    except RuntimeError as error:
        if "not finite" not in str(error):
            raise
        raise InputError(str(error)) from None
    return 0


__all__ = ["TrainConfig", "add_arguments", "main", "train"]
