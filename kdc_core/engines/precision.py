"""Convert an exported ONNX file to float16 or int8; TensorRT takes the precision from the file."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kdc_core.engines.model_file import NEEDS_VNNI
from kdc_core.errors import InputError

PRECISIONS = ("fp32", "fp16", "int8")


def to_half(path: Path) -> bytes:
    """Convert weights and activations to float16; inputs and outputs stay float32.

    Args:
        path: a float32 file of ``kdc export``.

    Returns:
        The content of the ONNX file.
    """
    import onnx

    model = onnx.load(path)
    graph = model.graph
    # sizes and scales of a Resize must stay float32
    kept = {name for node in graph.node if node.op_type == "Resize" for name in node.input[1:]}
    for tensor in graph.initializer:
        if tensor.name not in kept:
            _halve(tensor)
    for node in graph.node:
        if node.op_type == "Constant" and node.output[0] not in kept:
            for attribute in node.attribute:
                if attribute.name == "value":
                    _halve(attribute.t)
    renamed = {value.name: f"{value.name}_half" for value in (*graph.input, *graph.output)}
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    before = [_cast(v.name, renamed[v.name], onnx.TensorProto.FLOAT16) for v in graph.input]
    after = [_cast(renamed[v.name], v.name, onnx.TensorProto.FLOAT) for v in graph.output]
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _halve(tensor: Any) -> None:
    import onnx

    if tensor.data_type == onnx.TensorProto.FLOAT:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _cast(source: str, target: str, kind: int) -> Any:
    import onnx

    return onnx.helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=kind)


def to_int8(path: Path, images: Iterable[np.ndarray]) -> bytes:
    """Quantise convolutions for TensorRT (symmetric Q/DQ nodes), except the first and the last.

    Args:
        path: a float32 file of ``kdc export``.
        images: calibration inputs (1, 3, H, W) float32, from which the ranges are measured.

    Returns:
        The content of the ONNX file.

    Raises:
        InputError: there are no calibration images, or the file is already quantised.
    """
    return _quantize(path, images, ["Conv"], signed=True)


def to_int8_for_cpu(path: Path, images: Iterable[np.ndarray], bits: int = 7) -> bytes:
    """Quantise for CPUs: activations are unsigned, as the instructions of x86 need them.

    Activations stay bytes from one convolution to the next, also through sums and resizes. Without
    VNNI, x86 adds two products in 16 bits, which 8-bit weights overflow (mask AP .31 → .07).
    Therefore a file with 8-bit weights demands VNNI in its metadata (``check_cpu_support``); a file
    with 7-bit weights runs everywhere.

    Args:
        path: a float32 file of ``kdc export``.
        images: calibration inputs (1, 3, H, W) float32, from which the ranges are measured.
        bits: 7 or 8, of the weights.

    Returns:
        The content of the ONNX file.

    Raises:
        InputError: there are no calibration images, or the file is already quantised.
    """
    between = ["Add", "Clip", "Concat", "Relu", "Resize"]
    return _quantize(path, images, ["Conv", *between], signed=False, bits=bits)


def _quantize(
    path: Path, images: Iterable[np.ndarray], operators: list[str], signed: bool, bits: int = 8
) -> bytes:
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    reader = _Reader(images)
    if reader.first is None:
        raise InputError("int8: expected calibration images, got none; name a folder of images")
    model = onnx.load(path)
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise InputError(
            f"{path}: already quantised, expected a float32 file written by kdc export"
        )
    kept = outer_nodes(model)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        # a copy, because quantize_static writes files next to its input
        source, out = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            str(source),
            str(out),
            reader,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=operators,
            nodes_to_exclude=kept,
            extra_options={
                "ActivationSymmetric": signed,
                "WeightSymmetric": True,
                "QuantizeBias": not signed,
                "AddQDQPairToWeight": signed,  # TensorRT 8 refuses weights stored as bytes
                "TensorQuantOverrides": _seven_bits(model, kept) if bits == 7 else {},
                # average the ranges of images: the widest range would spend bits on one image
                "CalibMovingAverage": True,
                "CalibMovingAverageConstant": 0.05,
            },
        )
        quantised = onnx.load(out)
    needs = {} if signed or bits == 7 else NEEDS_VNNI
    properties = {p.key: p.value for p in model.metadata_props} | needs
    onnx.helper.set_model_props(quantised, properties)
    return bytes(quantised.SerializeToString())


def _seven_bits(model: Any, kept: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Return 7-bit weights for all but depthwise convolutions, whose sums do not overflow."""
    from onnxruntime.quantization import QuantType

    how = {"quant_type": QuantType.QInt8, "axis": 0, "symmetric": True, "reduce_range": True}
    return {
        node.input[1]: [how]
        for node in model.graph.node
        if node.op_type == "Conv"
        and node.name not in kept
        and all(a.i == 1 for a in node.attribute if a.name == "group")
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress ONNX Runtime's advice to prepare the graph, which ``kdc export`` has done."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


class _Reader:
    """Feed inputs to ``quantize_static``."""

    def __init__(self, images: Iterable[np.ndarray]) -> None:
        self.rest: Iterator[np.ndarray] = iter(images)
        self.first = next(self.rest, None)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next input, or None after the last."""
        image, self.first = self.first, None
        image = next(self.rest, None) if image is None else image
        return None if image is None else {"image": image}


def outer_nodes(model: Any) -> list[str]:
    """Return the names of the first and last convolutions, and of all nodes outside them.

    These nodes stay float32, because offsets need more than 8 bits and the first convolution loses
    most: with it on 8 bits mask AP fell from .235 to .195, without it to .232.
    """
    graph = model.graph
    makers: dict[str, list[Any]] = {}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.output:
            makers.setdefault(name, []).append(node)
        for name in node.input:
            readers.setdefault(name, []).append(node)
    before = _up_to_convolutions([value.name for value in graph.input], readers, "output")
    after = _up_to_convolutions([value.name for value in graph.output], makers, "input")
    return sorted(before | after)


def _up_to_convolutions(waiting: list[str], nodes: dict[str, list[Any]], onwards: str) -> set[str]:
    """Return the names of the nodes between some values and the first convolutions, inclusive."""
    found, seen = set(), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in nodes.get(name, ()):
            found |= {node.name} - {""}
            if node.op_type != "Conv":
                waiting += getattr(node, onwards)
    return found
