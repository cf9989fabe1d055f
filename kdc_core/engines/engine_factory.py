"""Engines turn a frame into fields. Which one is there, and which one is taken.

Nothing heavy is imported before an engine is opened.
"""

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

#: engine → (class in ``kdc_core.engines.<engine>``, what installs it); fastest first
ENGINES = {
    "tensorrt": ("TensorrtEngine", "pip install tensorrt pycuda onnx"),
    "openvino": ("OpenVinoEngine", "pip install openvino"),
    "onnxruntime": ("OnnxRuntimeEngine", "pip install onnxruntime"),
    "torch": ("TorchEngine", "pip install torch"),
}
LONG_SIDES = (64, 4096)  # input pixels: smaller sees nobody, larger is a slip of the keyboard


def open_engine(
    name: str = "auto", model: Path | None = None, threads: int = 0, long_side: int | None = None,
    flip: bool = False,
) -> Engine:  # fmt: skip
    """Open an engine on a model file; ``auto`` takes the fastest that is installed.

    Args:
        name: ``auto``, ``cpu`` (the fastest that needs no GPU) or one of ``ENGINES``.
        model: ``.onnx`` file, or checkpoint of ``kdc train`` for torch; default: the shipped one
            that suits the engine.
        threads: CPU threads; 0 leaves the choice to the engine (all cores).
        long_side: input pixels of the frame's longest side; default: the model's own.
        flip: mean of the fields of the frame and of its mirror image, in twice the time.

    Raises:
        ValueError: unknown name, engine not installed, file missing or of another kind.
    """
    if threads < 0:
        raise InputError(f"threads: expected 0 (all cores) or more, got {threads}")
    if long_side is not None:
        check_long_side(long_side)
    engine = _chosen(name, model, threads, long_side)
    if not flip:
        return engine
    from kdc_core.engines.flip import FlipEngine

    try:
        return FlipEngine(engine)
    except ValueError:
        engine.close()
        raise


def _chosen(name: str, model: Path | None, threads: int, long_side: int | None) -> Engine:
    if name not in ("auto", "cpu"):
        return _open(name, "asked for", model, threads, long_side)
    name, reason = choose_engine(model, gpu=name == "auto")
    if name == "tensorrt":
        try:
            return _open(name, reason, model, threads, long_side)
        except (ValueError, OSError) as error:
            log.warning("no engine on the GPU: %s", error)
            name, reason = _on_cpu()
    return _open(name, reason, model, threads, long_side)


def check_long_side(pixels: int) -> None:
    """A frame's longest side at the network's input, or a ``ValueError``."""
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
    # TensorRT has several names, and says itself what is missing
    if name != "tensorrt" and importlib.util.find_spec(name) is None:
        raise InputError(f"engine {name} is not installed: {install}")
    if name == "torch" and model is None:  # what comes with the package is ONNX
        raise InputError("engine torch: expected a checkpoint of kdc train, name it: --model FILE")
    path = default_model(name) if model is None else Path(model)
    _check_file(path, name)
    module = importlib.import_module(f"kdc_core.engines.{name}")
    engine: Engine = getattr(module, kind)(path, threads, long_side)
    log.info("engine %s (%s), model %s", engine.name, reason, path)
    return engine


def default_model(engine: str = "") -> Path:
    """The weights that ship with the package: in bytes for an engine on a CPU fast at them."""
    kind = ""
    if engine in ("onnxruntime", "openvino") and cpu.is_x86():
        kind = "_int8" if cpu.has_vnni() else "_int7"
    return Path(str(files("kdc_core"))) / "weights" / f"kdc_lite{kind}.onnx"


def choose_engine(model: Path | None, gpu: bool = True) -> tuple[str, str]:
    """The engine that ``auto`` takes for a model, or without ``gpu`` ``cpu``, and why.

    ``model`` None is the shipped one.
    """
    if model is not None and Path(model).suffix in (".pt", ".pth"):
        return "torch", "the model is a torch checkpoint"
    if not gpu:
        return _on_cpu()
    from kdc_core.cuda import gpu_unavailable_reason

    obstacle = gpu_unavailable_reason()
    if not obstacle:
        return "tensorrt", "there are a GPU and TensorRT"
    name, reason = _on_cpu()
    return name, f"{reason}; not on a GPU: {obstacle}"


def _on_cpu() -> tuple[str, str]:
    if importlib.util.find_spec("openvino") is not None:
        return "openvino", "installed, and faster on CPUs than onnxruntime"
    return "onnxruntime", "openvino is not installed"


def _check_file(path: Path, engine: str) -> None:
    expected = "a checkpoint (.pt)" if engine == "torch" else "an .onnx file"
    if not path.is_file():
        raise InputError(f"model: expected {expected}, {path} does not exist")
    if (path.suffix == ".onnx") == (engine == "torch"):
        raise InputError(f"model: engine {engine} expects {expected}, got {path}")
