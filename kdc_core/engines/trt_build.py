"""ONNX file → TensorRT engine, built once and kept for this model, TensorRT, GPU and precision.

Works with TensorRT 8.5 to 11 and TensorRT for RTX 1.x. An engine belongs to one GPU model and one
version of TensorRT, so it is kept in the user's cache and never shipped.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from kdc_core.config import ModelInfo
from kdc_core.cuda import cache_folder
from kdc_core.engines.model_file import read_info
from kdc_core.engines.precision import PRECISIONS, to_half, to_int8
from kdc_core.engines.trt_progress import ProgressCallback, monitor
from kdc_core.errors import InputError
from kdc_core.geometry import round_up
from kdc_core.io import atomic_write

log = logging.getLogger(__name__)

_WORKSPACE = 1 << 30  # bytes that the fastest algorithms may use while running


@dataclass(frozen=True)
class EngineKey:
    """What an engine is built from and for; two that are equal may share one engine file."""

    onnx_sha256: str
    tensorrt: str  # module and version
    gpu: str  # name and architecture
    precision: str  # one of PRECISIONS
    longest: int  # input pixels: any H and W up to it, multiples of the network's
    steps: int = 2  # raised whenever what is done below to the model, or asked of TensorRT, changes

    @property
    def key(self) -> str:
        """Part of the file's name."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def engine_key(trt: Any, model: Path, gpu: str, precision: str, longest: int) -> EngineKey:
    """The recipe for a model on this machine."""
    if precision not in PRECISIONS:
        raise InputError(f"precision: expected one of {PRECISIONS}, got {precision!r}")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    return EngineKey(digest, f"{trt.__name__} {trt.__version__}", gpu, precision, longest)


def engine_folder() -> Path:
    """Where engines are kept: ``$KDC_ENGINES``, else the user's cache."""
    return Path(os.environ.get("KDC_ENGINES") or cache_folder() / "engines")


def cached(wanted: EngineKey, folder: Path | None = None) -> bytes | None:
    """An engine that was built before, None if there is none that can be trusted."""
    path = engine_path(wanted, folder)
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        plan = path.read_bytes()
        whole = manifest["engine_sha256"] == hashlib.sha256(plan).hexdigest()
        if whole and manifest["recipe"] == asdict(wanted):
            return plan
        reason = "it is damaged" if not whole else "it was built for something else"
    except (OSError, ValueError, KeyError) as error:
        reason = f"its manifest cannot be read ({error})"
    log.warning("engine %s is built again: %s", path, reason)
    return None


def build_cached(
    trt: Any, wanted: EngineKey, model: Path, images: Iterable[np.ndarray] = (),
    folder: Path | None = None, watch: ProgressCallback | None = None,
) -> bytes:  # fmt: skip
    """Build an engine and keep it. ``images``: calibration inputs for int8."""
    path = engine_path(wanted, folder)
    log.info("building %s (%s), some minutes on a small GPU", path.name, wanted.precision)
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = hashlib.sha256(f"{wanted.tensorrt}, {wanted.gpu}".encode()).hexdigest()[:8]
    cache = path.parent / f"timing-{measured}.bin"
    timings = cache.read_bytes() if cache.is_file() else b""
    text = onnx_bytes(model, wanted.precision, images)
    info = read_info(model).at(wanted.longest)
    plan, timings = build(trt, text, info, wanted.precision, timings, watch, wanted.gpu)
    manifest = {
        "recipe": asdict(wanted),
        "engine_sha256": hashlib.sha256(plan).hexdigest(),
        "built": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    atomic_write(path, plan)
    atomic_write(path.with_suffix(".json"), json.dumps(manifest, indent=1).encode())
    if timings:
        atomic_write(cache, timings)
    return plan


def onnx_bytes(model: Path, precision: str, images: Iterable[np.ndarray] = ()) -> bytes:
    """The model's file in the wanted precision."""
    if precision == "fp16":
        return to_half(model)
    return to_int8(model, images) if precision == "int8" else model.read_bytes()


def build(
    trt: Any, text: bytes, info: ModelInfo, precision: str = "fp32", timings: bytes = b"",
    watch: ProgressCallback | None = None, gpu: str = "",
) -> tuple[bytes, bytes]:  # fmt: skip
    """Engine and timing cache from an ONNX file's content.

    Args:
        trt: the TensorRT module.
        text: the file, its types in the wanted precision.
        info: what the file says, with the largest side of the network's input.
        precision: of the file's types; TensorRT 8, which has no strong types, must be told.
        timings: what an earlier build measured on such a GPU.
        watch: is told how far it is, where TensorRT tells.
        gpu: name and architecture of the GPU that it is for.

    Raises:
        ValueError: no GPU (full TensorRT needs one to build), or TensorRT refuses the model.
    """
    logger = trt.Logger(trt.Logger.WARNING)
    try:
        builder = trt.Builder(logger)
    except TypeError:  # the factory returned a null pointer
        raise InputError("TensorRT cannot build an engine: it finds no usable GPU") from None
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(text):
        errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise InputError(f"TensorRT cannot read the model: {errors}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE)
    weak = not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    if weak and precision == "fp16":
        config.set_flag(trt.BuilderFlag.FP16)
    if weak and precision == "int8":
        config.set_flag(trt.BuilderFlag.INT8)
    if precision != "fp16" and hasattr(trt.BuilderFlag, "TF32") and hasattr(config, "clear_flag"):
        config.clear_flag(trt.BuilderFlag.TF32)  # fp32 means fp32: offsets need the bits
    if "(sm_75)" in gpu and hasattr(config, "num_compute_capabilities"):
        config.num_compute_capabilities = 1  # TensorRT for RTX leaves Turing out unless it is named
        config.set_compute_capability(trt.ComputeCapability.SM75, 0)
    profile = builder.create_optimization_profile()
    profile.set_shape("image", *_shapes(info))
    config.add_optimization_profile(profile)
    times = not trt.__name__.startswith("tensorrt_rtx")  # RTX tunes when it loads an engine
    if times:
        for content in (timings, b""):  # what cannot be read, or is another GPU's, counts as none
            cache = config.create_timing_cache(content)
            if cache is not None and config.set_timing_cache(cache, False):
                break
    told = monitor(trt, watch) if watch else None
    if told is not None:
        config.progress_monitor = told
    plan = builder.build_serialized_network(network, config)
    if told is not None and told.interrupted:
        raise KeyboardInterrupt
    if plan is None:
        raise InputError("TensorRT could not build the engine; its log says why")
    found = config.get_timing_cache() if times else None
    return bytes(plan), b"" if found is None else bytes(found.serialize())


def _network_flags(trt: Any) -> int:
    """Explicit batch where it must be asked for (8.x), types from the file where that exists."""
    kinds = trt.NetworkDefinitionCreationFlag
    names = [name for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED") if hasattr(kinds, name)]
    return sum(1 << int(getattr(kinds, name)) for name in names)


def _shapes(info: ModelInfo) -> list[tuple[int, int, int, int]]:
    """Smallest, usual (4:3) and largest input."""
    least = info.multiple
    side = round_up(info.longest, least)
    return [(1, 3, least, least), (1, 3, round_up(side * 3 // 4, least), side), (1, 3, side, side)]


def engine_path(wanted: EngineKey, folder: Path | None = None) -> Path:
    """Where an engine is kept; its manifest lies beside it."""
    return (folder or engine_folder()) / f"kdc-{wanted.precision}-{wanted.key}.engine"
