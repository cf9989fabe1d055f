"""Make engines, configurations and calibration images from parsed arguments."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kdc_core.config import CentroidMode, DecodeConfig, ModelInfo
from kdc_core.engines import Engine, choose_engine, default_model, open_engine
from kdc_core.errors import InputError
from kdc_core.io import Source


def engine_from(args: argparse.Namespace) -> Engine:
    """Open the engine that the options of ``add_engine`` name.

    Raises:
        InputError: no such file, not a KDC model, or the engine is not installed.
    """
    if args.model is not None and not args.model.is_file():
        raise InputError(f"{args.model}: no such model file")
    return open_engine(args.engine, args.model, args.threads, args.long_side, args.flip)


def weights_of(args: argparse.Namespace) -> Path:
    """Return the model file that ``engine_from`` tries first."""
    engine = choose_engine(args.model)[0] if args.engine == "auto" else args.engine
    return args.model or default_model(engine)


def decode_from(args: argparse.Namespace, config: DecodeConfig | None = None) -> DecodeConfig:
    """Return the decoder's configuration: ``config`` with the options of ``add_decoder``."""
    config = config or DecodeConfig()
    return replace(config, centroid=replace(config.centroid, mode=CentroidMode(args.centroid)))


def calibration(source: Source, count: int, info: ModelInfo) -> Iterator[np.ndarray]:
    """Yield network inputs (3, H, W) of the first ``count`` frames of a source."""
    from kdc_core.engines import preprocess

    frames = islice(source, count)
    for frame in tqdm(frames, "calibration", count, unit="image", leave=False, disable=None):
        yield preprocess(frame, info)[0]
