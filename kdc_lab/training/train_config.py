"""Configure a training run: ``TrainConfig``, its command line, and the values of the paper."""

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


MAX_NUMBER = 2**31 - 1  # limit of every number
_AT_LEAST_ONE = ("iterations", "batch", "accumulate", "log_every", "image_every", "tune_every",
                 "synth_images")  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run; every field is an option of ``kdc train``."""

    out: str = _option("runs/lite", "output folder for checkpoints, curves and weights")
    preset: str = _option("lite", "network: lite, lite-movenet (2 CPU cores), base (GPU), or paper")
    init: str = _option(
        "", "checkpoint to start from (from another backbone: only the heads), or a .onnx of KDC"
    )
    backbone_weights: str = _option("published", "'published', 'none', or a weight file")
    frozen_stride: int = _option(0, "freeze the backbone up to this stride: 0, 4 or 8")
    longest: int = _option(0, "longest side at inference in input pixels; 0: that of the preset")
    crop: int = _option(
        512, "side of a training crop in input pixels; more context takes more time"
    )
    iterations: int = _option(
        20000, "optimiser steps; the default is 40 epochs of 16,000 images at batch 32"
    )
    epochs: float = _option(0.0, "passes over the images; sets the iterations if given")
    minutes: float = _option(
        0.0, "time limit of the whole run, at which the schedule ends; 0: none"
    )
    leg_minutes: float = _option(0.0, "stop this process after this time, to be resumed; 0: never")
    batch: int = _option(32, "images per step over all processes; batch norm needs 16 or more")
    accumulate: int = _option(1, "number of parts in which a step is computed; 2 halves the memory")
    lr: float = _option(2e-3, "peak learning rate of AdamW for neck and heads")
    backbone_lr: float = _option(0.25, "factor on lr for the pretrained backbone")
    weight_decay: float = _option(
        0.05, "weight decay of convolutions; 0.05 is usual for AdamW on small data"
    )
    warm_up: int = _option(500, "steps of linear warm-up, for the moments of AdamW")
    weak_aug_fraction: float = _option(0.4, "last share of the run, with weak augmentation")
    final_lr: float = _option(0.01, "factor on lr at the end of the cosine")
    constant_lr: bool = _option(False, "use neither cosine nor warm-up, as in the paper")
    freeze_norm: bool = _option(
        False, "freeze the batch statistics of the backbone, for batches below 16"
    )
    ema: float = _option(
        0.9995, "decay per step of the averaged weights; 0.9995 averages 2,000 steps"
    )
    clip: float = _option(
        1.0, "maximum norm of a gradient, so that one bad image cannot ruin a run"
    )
    synth: float = _option(0.0, "share of rendered people among the images of a step, 0 to 1")
    synth_images: int = _option(
        4000, "number of different images rendered while training; then they repeat"
    )
    synth_workers: int = _option(0, "processes that render; 0: one per core")
    seed: int = _option(0, "seed of everything random")
    device: str = _option("auto", "auto, cpu or cuda")
    precision: str = _option("auto", "bf16 or fp32; auto: bf16 if the hardware supports it")
    resident: str = _option("auto", "keep all decoded images in the device's memory: yes or no")
    compile: bool = _option(
        False, "compile the network with torch.compile: slow to start, faster on GPUs"
    )
    checkpoint_minutes: float = _option(5.0, "minutes between checkpoints; 0: after each step")
    log_every: int = _option(20, "steps between points of the curve")
    image_every: int = _option(500, "steps between sample images")
    tune_every: int = _option(1000, "steps between losses on the tuning split")

    def __post_init__(self) -> None:
        if not self.out:
            raise InputError("--out: expected a folder, got an empty string")
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
            if isinstance(value, int | float) and not least <= value <= MAX_NUMBER:
                option = f.name.replace("_", "-")
                raise InputError(
                    f"--{option}: expected a number from {least} to {MAX_NUMBER}, got {value}"
                )
        for name in ("synth", "weak_aug_fraction"):
            if getattr(self, name) > 1:
                option, got = name.replace("_", "-"), getattr(self, name)
                raise InputError(f"--{option}: expected a share from 0 to 1, got {got}")
        if self.crop % 32 or self.crop < 64:
            raise InputError(f"--crop: expected a multiple of 32, at least 64, got {self.crop}")
        if self.batch % self.accumulate:
            raise InputError(
                f"--batch: expected a multiple of --accumulate {self.accumulate}, got {self.batch}"
            )


#: former names of fields, in checkpoints of earlier versions
RENAMED = {
    "calm": "weak_aug_fraction",
    "picture_every": "image_every",
    "synth_pictures": "synth_images",
}
#: options that may change when a run is resumed: its length, place, hardware and logs
CHANGEABLE = frozenset((
    "out", "iterations", "epochs", "minutes", "leg_minutes", "device", "resident", "synth_workers",
    "checkpoint_minutes", "log_every", "image_every", "tune_every",
))  # fmt: skip
#: training of the preset ``paper``: Adam 1e-5, batch 4, 400 epochs
PAPER = {
    "crop": 416, "epochs": 400.0, "batch": 4, "lr": 1e-5, "backbone_lr": 1.0, "weight_decay": 0.0,
    "constant_lr": True, "freeze_norm": True, "weak_aug_fraction": 0.0,
}  # fmt: skip
#: differences from the defaults of ``AugmentConfig``, by preset
PRESET_AUGMENT: dict[str, dict[str, Any]] = {
    # two pyramid scales: every person has the size at which the decoder finds it at one of them, so
    # that large people fit into a crop
    "lite-movenet": {"zoom": (0.5, 1.44), "half_zoom_above": 240.0},
    # scale, flip and rotation only
    "paper": {
        "strong_tilt_share": 1.0, "paste": 0.0, "occlude": 0.0, "brightness": 0.0, "contrast": 0.0,
        "saturation": 0.0, "hue": 0.0, "channel": 0.0, "grey": 0.0, "blur": 0.0, "noise": 0.0,
    },
}  # fmt: skip
#: differences in the last part of a run: training finishes with weak augmentation, so that the
#: final weights match the images of cameras
WEAK_AUGMENT: dict[str, Any] = {
    "zoom": (0.6, 1.25), "tilt": 6.0, "strong_tilt_share": 0.03, "paste": 0.12, "occlude": 0.15,
    "brightness": 0.15, "contrast": 0.15, "saturation": 0.2, "hue": 4.0, "channel": 0.04,
    "grey": 0.02, "blur": 0.04, "noise": 0.04,
}  # fmt: skip
#: further differences by preset: with two pyramid scales large people appear at half size only
WEAK_AUGMENT_OF_PRESET: dict[str, dict[str, Any]] = {"lite-movenet": {"half_zoom_above": 240.0}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kdc train``: the sources, and every field of ``TrainConfig``."""
    add_source_arguments(parser)
    parser.add_argument(
        "--synth-data", type=Path, metavar="DIR",
        help="folder of `kdc synth`, for --synth; default: render while training",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in --out with its options"
    )
    for f in fields(TrainConfig):
        name, default = "--" + f.name.replace("_", "-"), f.default
        if isinstance(default, bool):
            parser.add_argument(name, action="store_true", default=None, help=f.metadata["help"])
            continue
        text = f"{f.metadata['help']} ({default if default != '' else 'none'})".replace("%", "%%")
        parser.add_argument(name, type=type(default), default=None, metavar="X", help=text)


def config_from(args: argparse.Namespace, before: dict[str, Any] | None = None) -> TrainConfig:
    """Return the configuration of the command line.

    Options that are not given come from the run to resume, or from the preset.

    Args:
        args: Parsed arguments.
        before: Configuration of the run to resume.

    Raises:
        InputError: A value is wrong, two lengths are given, or an option would change the run.
    """
    given = {f.name: getattr(args, f.name) for f in fields(TrainConfig)
             if getattr(args, f.name) is not None}  # fmt: skip
    start = PAPER if given.get("preset") == "paper" else {}
    if before is not None:
        before = {RENAMED.get(name, name): value for name, value in before.items()}
        start = {f.name: before[f.name] for f in fields(TrainConfig) if f.name in before}
        start.pop("out", None)  # the folder may have moved
        _refuse_changed_options(given, start)
    if given.get("epochs") and "iterations" in given:
        raise InputError(
            "--epochs and --iterations: expected one of them, because each sets the length"
        )
    if "iterations" in given:
        start = {**start, "epochs": 0.0}  # otherwise they would set the iterations
    return TrainConfig(**{**start, **given})


def _refuse_changed_options(given: dict[str, Any], before: dict[str, Any]) -> None:
    wrong = [
        f"--{name.replace('_', '-')} {value} (started with {before[name]})"
        for name, value in given.items()
        if name not in CHANGEABLE and name in before and value != before[name]
    ]
    if wrong:
        raise InputError(f"--resume: these options would change the run: {', '.join(wrong)}")
