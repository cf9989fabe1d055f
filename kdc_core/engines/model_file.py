"""Files of models: what an ONNX file says of itself, and files that are whole or not there."""

from __future__ import annotations

from pathlib import Path

from kdc_core.config import ModelInfo
from kdc_core.errors import InputError
from kdc_core.system import cpu

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
        raise InputError(f"{model}: expected an ONNX file, cannot read it: {error}") from None
    try:
        return ModelInfo.from_metadata({p.key: p.value for p in properties})
    except ValueError as error:
        raise InputError(f"{model}: {error}") from None


def check_cpu_support(model: Path, metadata: dict[str, str]) -> None:
    """ValueError for a file that would give other answers here than where it was made for."""
    if metadata.items() >= NEEDS_VNNI.items() and cpu.is_x86() and not cpu.has_vnni():
        raise InputError(
            f"{model}: expected a CPU with VNNI, on this one its sums overflow; "
            "take weights of 7 bits: kdc_lite_int7.onnx, or kdc quantize --bits 7"
        )
