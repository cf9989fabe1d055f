"""How a training run goes: ``TrainConfig``, its command line, and the paper's values."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from kdc_core.errors import InputError
from kdc_core.network import LONGEST
from kdc_lab.training.pack import add_source_arguments


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


MOST = 2**31 - 1  # of any number
_AT_LEAST_ONE = ("iterations", "batch", "accumulate", "log_every", "picture_every", "tune_every",
                 "synth_pictures")  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """How a run goes; every field is an option of ``kdc train``."""

    out: str = _option("runs/lite", "folder of checkpoints, curves and weights")
    preset: str = _option("lite", "network: lite, lite-movenet (2 CPU cores), base (GPU), paper")
    init: str = _option(
        "", "checkpoint to start from (of another backbone: its heads), or a .onnx of ours"
    )
    backbone_weights: str = _option("published", "'published', 'none', or a weight file")
    frozen_stride: int = _option(0, "keep the backbone as published up to this stride: 0, 4 or 8")
    longest: int = _option(0, "input pixels of the longest side at inference; 0: the preset's")
    crop: int = _option(512, "input pixels of a training crop; more context for more time")
    iterations: int = _option(20000, "optimiser steps; 40 passes over 16,000 pictures at batch 32")
    epochs: float = _option(0.0, "passes over the pictures; if given it sets the iterations")
    minutes: float = _option(0.0, "time limit of the whole run; the schedule ends by then; 0: none")
    leg_minutes: float = _option(0.0, "stop after this time of this process, to be resumed; 0: no")
    batch: int = _option(32, "pictures per step over all processes; batch norm wants 16 or more")
    accumulate: int = _option(1, "parts a step is computed in; 2 halves the memory")
    lr: float = _option(2e-3, "AdamW, peak, for neck and heads, which start from nothing")
    backbone_lr: float = _option(0.25, "times lr for the backbone, which has learned before")
    weight_decay: float = _option(0.05, "of convolutions; 0.05 is AdamW's usual for small data")
    warm_up: int = _option(500, "steps of rising rate, while AdamW's moments settle")
    calm: float = _option(0.4, "last share of the run in which pictures are varied little")
    final_lr: float = _option(0.01, "times lr at the end of the cosine")
    constant_lr: bool = _option(False, "no cosine, no warm-up (the paper)")
    freeze_norm: bool = _option(False, "keep the backbone's batch statistics: batches below 16")
    ema: float = _option(0.9995, "decay per step of the averaged weights: a window of 2,000 steps")
    clip: float = _option(1.0, "largest norm of a gradient; one bad picture must not ruin a run")
    synth: float = _option(0.0, "share of rendered people among a step's pictures, 0 to 1")
    synth_pictures: int = _option(4000, "different pictures rendered while training, then again")
    synth_workers: int = _option(0, "processes that render; 0: one per core")
    seed: int = _option(0, "of everything random")
    device: str = _option("auto", "auto, cpu, cuda")
    precision: str = _option("auto", "bf16, fp32; auto: bf16 where the hardware has it")
    resident: str = _option("auto", "yes, no: all pictures decoded in the device's memory")
    compile: bool = _option(False, "torch.compile the network: minutes to start, faster on GPUs")
    checkpoint_minutes: float = _option(5.0, "between checkpoints; 0: every step")
    log_every: int = _option(20, "steps between points of the curve")
    picture_every: int = _option(500, "steps between sample pictures")
    tune_every: int = _option(1000, "steps between losses on the tuning split")

    def __post_init__(self) -> None:
        if not self.out:
            raise InputError("--out: expected a folder, got an empty text")
        choices = {
            "preset": tuple(LONGEST), "device": ("auto", "cpu", "cuda"),
            "precision": ("auto", "bf16", "fp32"), "resident": ("auto", "yes", "no"),
            "frozen_stride": (0, 4, 8),
        }  # fmt: skip
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                got = getattr(self, name)
                option, listed = name.replace("_", "-"), ", ".join(map(str, allowed))
                raise InputError(f"--{option}: expected one of {listed}, got {got!r}")
        for f in fields(self):
            least = 1 if f.name in _AT_LEAST_ONE else 0
            value = getattr(self, f.name)
            if isinstance(value, int | float) and not least <= value <= MOST:
                option = f.name.replace("_", "-")
                raise InputError(
                    f"--{option}: expected a number from {least} to {MOST}, got {value}"
                )
        for name in ("synth", "calm"):
            if getattr(self, name) > 1:
                got = getattr(self, name)
                raise InputError(f"--{name}: expected a share from 0 to 1, got {got}")
        if self.crop % 32 or self.crop < 64:
            raise InputError(f"--crop: expected a multiple of 32 from 64 on, got {self.crop}")
        if self.batch % self.accumulate:
            raise InputError(
                f"--batch: expected a multiple of --accumulate, got {self.batch}, {self.accumulate}"
            )


#: what the legs of a run may differ in: how long it goes on, where, and what is said meanwhile
PER_LEG = frozenset((
    "out", "iterations", "epochs", "minutes", "leg_minutes", "device", "resident", "synth_workers",
    "checkpoint_minutes", "log_every", "picture_every", "tune_every",
))  # fmt: skip
#: training of the preset ``paper``: Adam 1e-5, batch 4, 400 epochs
PAPER = {
    "crop": 416, "epochs": 400.0, "batch": 4, "lr": 1e-5, "backbone_lr": 1.0, "weight_decay": 0.0,
    "constant_lr": True, "freeze_norm": True, "calm": 0.0,
}  # fmt: skip
#: what differs from ``AugmentConfig``'s own values, by preset
AUGMENT: dict[str, dict[str, Any]] = {
    # two octaves: every person at the scale at which the decoder takes it from one of them, so that
    # large people lie in a crop as a whole
    "lite-movenet": {"zoom": (0.5, 1.44), "near": 240.0},
    # scale, flip and rotation only
    "paper": {
        "strong_tilt_share": 1.0, "paste": 0.0, "occlude": 0.0, "brightness": 0.0, "contrast": 0.0,
        "saturation": 0.0, "hue": 0.0, "channel": 0.0, "grey": 0.0, "blur": 0.0, "noise": 0.0,
    },
}  # fmt: skip
#: what differs in the last part of a run: a network that cannot learn all of its pictures by heart
#: should end on pictures as cameras give them
CALM: dict[str, Any] = {
    "zoom": (0.6, 1.25), "tilt": 6.0, "strong_tilt_share": 0.03, "paste": 0.12, "occlude": 0.15,
    "brightness": 0.15, "contrast": 0.15, "saturation": 0.2, "hue": 4.0, "channel": 0.04,
    "grey": 0.02, "blur": 0.04, "noise": 0.04,
}  # fmt: skip
#: and by preset: two octaves see large people at half their size only
CALM_AUGMENT: dict[str, dict[str, Any]] = {"lite-movenet": {"near": 240.0}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``kdc train``: the sources, and every field of ``TrainConfig``."""
    add_source_arguments(parser)
    parser.add_argument(
        "--synth-data", type=Path, metavar="DIR",
        help="folder made by `kdc synth`, for --synth; default: rendered while training",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in --out, with its options"
    )
    for f in fields(TrainConfig):
        name, default = "--" + f.name.replace("_", "-"), f.default
        if isinstance(default, bool):
            parser.add_argument(name, action="store_true", default=None, help=f.metadata["help"])
            continue
        text = f"{f.metadata['help']} ({default if default != '' else 'none'})".replace("%", "%%")
        parser.add_argument(name, type=type(default), default=None, metavar="X", help=text)


def from_arguments(args: argparse.Namespace, before: dict[str, Any] | None = None) -> TrainConfig:
    """What was given, on top of the preset's own defaults, or of the config of a run to resume.

    Raises:
        ValueError: a bad value, two lengths, or what would make another run of the one to resume.
    """
    given = {f.name: getattr(args, f.name) for f in fields(TrainConfig)
             if getattr(args, f.name) is not None}  # fmt: skip
    start = PAPER if given.get("preset") == "paper" else {}
    if before is not None:
        start = {f.name: before[f.name] for f in fields(TrainConfig) if f.name in before}
        start.pop("out", None)  # the folder may have been moved
        _refuse_another_run(given, start)
    if given.get("epochs") and "iterations" in given:
        raise InputError("--epochs and --iterations: expected one of them, each sets the length")
    if "iterations" in given:
        start = {**start, "epochs": 0.0}  # else these would set them
    return TrainConfig(**{**start, **given})


def _refuse_another_run(given: dict[str, Any], before: dict[str, Any]) -> None:
    wrong = [
        f"--{name.replace('_', '-')} {value} (begun with {before[name]})"
        for name, value in given.items()
        if name not in PER_LEG and name in before and value != before[name]
    ]
    if wrong:
        raise InputError(f"--resume: makes another run of it: {', '.join(wrong)}: leave it out")
