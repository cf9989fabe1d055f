"""Read the metadata of ONNX model files, and check that the CPU can run them."""

from __future__ import annotations

from pathlib import Path

from kdc_core.config import ModelInfo
from kdc_core.errors import InputError
from kdc_core.system import cpu

#: metadata of a file whose integer sums overflow on x86 CPUs without VNNI
NEEDS_VNNI = {"kdc_cpu": "vnni"}


def read_info(model: Path) -> ModelInfo:
    """Return the model's metadata.

    Raises:
        InputError: the file is not an ONNX file, or was not written by ``kdc export``.
    """
    import onnx

    try:
        properties = onnx.load(model, load_external_data=False).metadata_props
    except Exception as error:  # protobuf's exceptions have no other common base
        raise InputError(f"{model}: expected an ONNX file, cannot read it: {error}") from None
    try:
        return ModelInfo.from_metadata({p.key: p.value for p in properties})
    except InputError as error:
        raise InputError(f"{model}: {error}") from None


def check_cpu_support(model: Path, metadata: dict[str, str]) -> None:
    """Check that this CPU computes the model without overflow.

    Args:
        model: the file, for the error message.
        metadata: its ONNX metadata.

    Raises:
        InputError: the weights have 8 bits, which need a CPU with VNNI.
    """
    if metadata.items() >= NEEDS_VNNI.items() and cpu.is_x86() and not cpu.has_vnni():
        raise InputError(
            f"{model}: expected a CPU with VNNI; without it, sums of 8-bit weights overflow; "
            "use 7-bit weights: kdc_lite_int7.onnx, or kdc quantize --bits 7"
        )
