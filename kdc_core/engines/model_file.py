"""Files of models: what an ONNX file says of itself, and files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from kdc_core import cpu
from kdc_core.config import ModelInfo

#: metadata of a file whose sums overflow on x86 without VNNI
NEEDS_VNNI = {"kdc_cpu": "vnni"}


def read_info(model: Path) -> ModelInfo:
    """What the ONNX file says of itself.

    Raises:
        ValueError: not an ONNX file, or not one of ours.
    """
    import onnx

    try:
        properties = onnx.load(model, load_external_data=False).metadata_props
    except Exception as error:  # protobuf has its own family of exceptions
        raise ValueError(f"{model}: expected an ONNX file, cannot read it: {error}") from None
    try:
        return ModelInfo.from_metadata({p.key: p.value for p in properties})
    except ValueError as error:
        raise ValueError(f"{model}: {error}") from None


def check_cpu(model: Path, metadata: dict[str, str]) -> None:
    """ValueError for a file that would give other answers here than where it was made for."""
    if metadata.items() >= NEEDS_VNNI.items() and cpu.is_x86() and not cpu.has_vnni():
        raise ValueError(
            f"{model}: expected a CPU with VNNI, on this one its sums overflow; "
            "take weights of 7 bits: kdc_lite_int7.onnx, or kdc quantize --bits 7"
        )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that another process sees the whole of it or none; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + f".{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
