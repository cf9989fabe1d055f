"""Choose and open an engine. Nothing heavy is imported before an engine is opened."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from kdc_core.errors import InputError
from kdc_core.system import cpu

if TYPE_CHECKING:
    from kdc_core.engines.base import Engine

log = logging.getLogger(__name__)

#: engine → (class in ``kdc_core.engines.<engine>``, command that installs it); fastest first
ENGINES = {
    "tensorrt": ("TensorrtEngine", "pip install tensorrt pycuda onnx"),
    "openvino": ("OpenVinoEngine", "pip install openvino"),
    "onnxruntime": ("OnnxRuntimeEngine", "pip install onnxruntime"),
    "torch": ("TorchEngine", "pip install torch"),
}
#: input pixels: people are too small to be found below, and larger values are typing errors
LONG_SIDES = (64, 4096)


def open_engine(
    name: str = "auto",
    model: Path | None = None,
    threads: int = 0,
    long_side: int | None = None,
    flip: bool = False,
) -> Engine:
    """Open an engine on a model file; ``auto`` selects the fastest engine that is installed.

    Args:
        name: ``auto``, ``cpu`` (the fastest engine that needs no GPU) or one of ``ENGINES``.
        model: an ``.onnx`` file, or for torch a checkpoint of ``kdc train``; None selects the
            shipped weights that are fastest on this CPU.
        threads: CPU threads; 0 uses all cores.
        long_side: longest side of the network's input, pixels; None uses the model's own value.
        flip: average the fields of the frame and of its mirror image, which takes twice the time.

    Returns:
        The engine. The caller closes it.

    Raises:
        InputError: the name is unknown, the engine is not installed, or the model file does not
            exist or has the wrong type.
    """
    if threads < 0:
        raise InputError(f"threads: expected 0 (all cores) or more, got {threads}")
    if long_side is not None:
        check_long_side(long_side)
    engine = _open_named(name, model, threads, long_side)
    if not flip:
        return engine
    from kdc_core.engines.flip import FlipEngine

    try:
        return FlipEngine(engine)
    except InputError:
        engine.close()
        raise


def _open_named(name: str, model: Path | None, threads: int, long_side: int | None) -> Engine:
    """Resolve ``auto`` and ``cpu``. If TensorRT cannot be opened, ``auto`` falls back to a CPU."""
    if name not in ("auto", "cpu"):
        return _open(name, "as requested", model, threads, long_side)
    name, reason = choose_engine(model, gpu=name == "auto")
    if name == "tensorrt":
        try:
            return _open(name, reason, model, threads, long_side)
        except (InputError, OSError) as error:
            log.warning("the GPU engine could not be opened: %s", error)
            name, reason = _choose_cpu_engine()
    return _open(name, reason, model, threads, long_side)


def check_long_side(pixels: int) -> None:
    """Check the longest side of the network's input.

    Raises:
        InputError: it is outside ``LONG_SIDES``.
    """
    if not LONG_SIDES[0] <= pixels <= LONG_SIDES[1]:
        raise InputError(
            f"long side: expected {LONG_SIDES[0]} to {LONG_SIDES[1]} pixels, got {pixels}"
        )


def _open(
    name: str, reason: str, model: Path | None, threads: int, long_side: int | None
) -> Engine:
    if name not in ENGINES:
        raise InputError(f"engine: expected auto, cpu, {', '.join(ENGINES)}, got {name!r}")
    kind, install = ENGINES[name]
    # TensorRT has several module names; its engine reports what is missing
    if name != "tensorrt" and importlib.util.find_spec(name) is None:
        raise InputError(f"engine {name} is not installed: {install}")
    if name == "torch" and model is None:  # the shipped weights are ONNX files
        raise InputError(
            "engine torch: expected a checkpoint of kdc train, name one with --model FILE"
        )
    path = default_model(name) if model is None else Path(model)
    _check_file(path, name)
    module = importlib.import_module(f"kdc_core.engines.{name}")
    engine: Engine = getattr(module, kind)(path, threads, long_side)
    log.info("engine %s (%s), model %s", engine.name, reason, path)
    return engine


def default_model(engine: str = "") -> Path:
    """Return the shipped weights for an engine: quantised ones on an x86 CPU, else float32."""
    kind = ""
    if engine in ("onnxruntime", "openvino") and cpu.is_x86():
        kind = "_int8" if cpu.has_vnni() else "_int7"
    return Path(str(files("kdc_core"))) / "weights" / f"kdc_lite{kind}.onnx"


def choose_engine(model: Path | None, gpu: bool = True) -> tuple[str, str]:
    """Choose the engine for ``auto`` (or ``cpu`` if not ``gpu``).

    Args:
        model: the model file; None for the shipped weights.
        gpu: False excludes engines on the GPU.

    Returns:
        The name of the engine and the reason for the choice.
    """
    if model is not None and Path(model).suffix in (".pt", ".pth"):
        return "torch", "the model is a torch checkpoint"
    if not gpu:
        return _choose_cpu_engine()
    from kdc_core.cuda import gpu_unavailable_reason

    obstacle = gpu_unavailable_reason()
    if not obstacle:
        return "tensorrt", "a GPU and TensorRT are available"
    name, reason = _choose_cpu_engine()
    return name, f"{reason}; no GPU engine: {obstacle}"


def _choose_cpu_engine() -> tuple[str, str]:
    if importlib.util.find_spec("openvino") is not None:
        return "openvino", "installed, and faster on CPUs than onnxruntime"
    return "onnxruntime", "openvino is not installed"


def _check_file(path: Path, engine: str) -> None:
    expected = "a checkpoint (.pt)" if engine == "torch" else "an .onnx file"
    if not path.is_file():
        raise InputError(f"model: expected {expected}, {path} does not exist")
    if (path.suffix == ".onnx") == (engine == "torch"):
        raise InputError(f"model: engine {engine} expects {expected}, got {path}")
