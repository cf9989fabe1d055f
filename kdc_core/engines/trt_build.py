"""Build TensorRT engines from ONNX files and cache them.

Works with TensorRT 8.5 to 11 and TensorRT for RTX 1.x. An engine runs only on one GPU model with
one version of TensorRT. Therefore engines live in the user's cache and are never shipped.
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
from kdc_core.engines.trt_progress import ProgressCallback, progress_monitor
from kdc_core.errors import InputError
from kdc_core.geometry import round_up
from kdc_core.io import atomic_write

log = logging.getLogger(__name__)

_WORKSPACE = 1 << 30  # bytes of GPU memory that the fastest algorithms may use at run time


@dataclass(frozen=True)
class EngineKey:
    """Everything an engine depends on; two equal keys may share one engine file."""

    onnx_sha256: str
    tensorrt: str  # module and version
    gpu: str  # name and architecture
    precision: str  # one of PRECISIONS
    longest: int  # input pixels: any H and W up to it, multiples of the network's
    steps: int = 2  # raised whenever the conversion of the model or the build settings change

    @property
    def digest(self) -> str:
        """Hash of the key, 16 hex digits; part of the file's name."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def engine_key(trt: Any, model: Path, gpu: str, precision: str, longest: int) -> EngineKey:
    """Return the key of a model's engine on this machine.

    Raises:
        InputError: the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision: expected one of {PRECISIONS}, got {precision!r}")
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    return EngineKey(sha256, f"{trt.__name__} {trt.__version__}", gpu, precision, longest)


def engine_folder() -> Path:
    """Return the folder of cached engines: ``$KDC_ENGINES``, else one in the user's cache."""
    return Path(os.environ.get("KDC_ENGINES") or cache_folder() / "engines")


def engine_path(key: EngineKey, folder: Path | None = None) -> Path:
    """Return the path of an engine; its manifest has the suffix ``.json``."""
    return (folder or engine_folder()) / f"kdc-{key.precision}-{key.digest}.engine"


def cached(key: EngineKey, folder: Path | None = None) -> bytes | None:
    """Return a cached engine, or None if there is none or its manifest does not match."""
    path = engine_path(key, folder)
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        plan = path.read_bytes()
        intact = manifest["engine_sha256"] == hashlib.sha256(plan).hexdigest()
        if intact and manifest["recipe"] == asdict(key):
            return plan
        reason = "its checksum is wrong" if not intact else "it was built for another key"
    except (OSError, ValueError, LookupError, TypeError) as error:  # ValueError: not JSON
        reason = f"its manifest cannot be read ({error})"
    log.warning("rebuilding engine %s: %s", path, reason)
    return None


def build_cached(
    trt: Any,
    key: EngineKey,
    model: Path,
    images: Iterable[np.ndarray] = (),
    folder: Path | None = None,
    callback: ProgressCallback | None = None,
) -> bytes:
    """Build an engine and write it to the cache.

    Args:
        trt: the TensorRT module.
        key: what to build.
        model: the ONNX file.
        images: calibration inputs (1, 3, H, W) float32 for int8.
        folder: None for ``engine_folder()``.
        callback: receives the progress.

    Raises:
        InputError: as ``build``.
    """
    path = engine_path(key, folder)
    log.info("building %s (%s); this takes some minutes on a small GPU", path.name, key.precision)
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = hashlib.sha256(f"{key.tensorrt}, {key.gpu}".encode()).hexdigest()[:8]
    timing_path = path.parent / f"timing-{machine}.bin"
    timings = timing_path.read_bytes() if timing_path.is_file() else b""
    text = onnx_bytes(model, key.precision, images)
    info = read_info(model).at(key.longest)
    plan, timings = build(trt, text, info, key.precision, timings, callback, key.gpu)
    manifest = {
        "recipe": asdict(key),
        "engine_sha256": hashlib.sha256(plan).hexdigest(),
        "built": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    atomic_write(path, plan)
    atomic_write(path.with_suffix(".json"), json.dumps(manifest, indent=1).encode())
    if timings:
        atomic_write(timing_path, timings)
    return plan


def onnx_bytes(model: Path, precision: str, images: Iterable[np.ndarray] = ()) -> bytes:
    """Return the content of the model's file, converted to ``precision``."""
    if precision == "fp16":
        return to_half(model)
    return to_int8(model, images) if precision == "int8" else model.read_bytes()


def build(
    trt: Any,
    text: bytes,
    info: ModelInfo,
    precision: str = "fp32",
    timings: bytes = b"",
    callback: ProgressCallback | None = None,
    gpu: str = "",
) -> tuple[bytes, bytes]:
    """Build an engine from the content of an ONNX file.

    Args:
        trt: the TensorRT module.
        text: content of the ONNX file, already in ``precision``.
        info: metadata of the model; ``longest`` is the largest side of the network's input.
        precision: precision of the file. TensorRT 8 has no strongly typed networks and needs a flag
            for it.
        timings: timing cache of an earlier build on the same kind of GPU.
        callback: receives the progress, with TensorRT 10 and newer.
        gpu: name and architecture of the GPU.

    Returns:
        The engine and the new timing cache.

    Raises:
        InputError: there is no GPU (full TensorRT needs one to build), or TensorRT rejects the
            model.
        KeyboardInterrupt: ``callback`` raised it.
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
    config = _config(trt, builder, info, precision, gpu)
    tunes = not trt.__name__.startswith("tensorrt_rtx")  # RTX tunes when it loads an engine
    if tunes:
        _set_timing_cache(config, timings)
    monitor = progress_monitor(trt, callback) if callback else None
    if monitor is not None:
        config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.interrupted:
        raise KeyboardInterrupt
    if plan is None:
        raise InputError("TensorRT could not build the engine; see its messages above")
    cache = config.get_timing_cache() if tunes else None
    return bytes(plan), b"" if cache is None else bytes(cache.serialize())


def _config(trt: Any, builder: Any, info: ModelInfo, precision: str, gpu: str) -> Any:
    """Return a builder configuration with memory, precision, target and input shapes set."""
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE)
    strongly_typed = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    if not strongly_typed and precision == "fp16":
        config.set_flag(trt.BuilderFlag.FP16)
    if not strongly_typed and precision == "int8":
        config.set_flag(trt.BuilderFlag.INT8)
    if precision != "fp16" and hasattr(trt.BuilderFlag, "TF32") and hasattr(config, "clear_flag"):
        config.clear_flag(trt.BuilderFlag.TF32)  # offsets need the full float32 mantissa
    if "(sm_75)" in gpu and hasattr(config, "num_compute_capabilities"):
        config.num_compute_capabilities = 1  # TensorRT for RTX builds for Turing only on request
        config.set_compute_capability(trt.ComputeCapability.SM75, 0)
    profile = builder.create_optimization_profile()
    profile.set_shape("image", *_shapes(info))
    config.add_optimization_profile(profile)
    return config


def _set_timing_cache(config: Any, timings: bytes) -> None:
    """Use ``timings``; if they cannot be read or belong to another GPU, use an empty cache."""
    for content in (timings, b""):
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, False):
            break


def _network_flags(trt: Any) -> int:
    """Return the flags for an explicit batch (needed by 8.x) and types from the file (10 on)."""
    kinds = trt.NetworkDefinitionCreationFlag
    names = [name for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED") if hasattr(kinds, name)]
    return sum(1 << int(getattr(kinds, name)) for name in names)


def _shapes(info: ModelInfo) -> list[tuple[int, int, int, int]]:
    """Return the smallest, the usual (4:3) and the largest input shape."""
    least = info.multiple
    side = round_up(info.longest, least)
    return [(1, 3, least, least), (1, 3, round_up(side * 3 // 4, least), side), (1, 3, side, side)]
