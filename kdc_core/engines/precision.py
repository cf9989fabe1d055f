"""The exported ONNX file in other number formats: TensorRT takes the precision from the file."""

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
    """Weights and everything between as float16; inputs and outputs stay float32."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
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
    """For TensorRT: convolutions on int8, symmetric Q/DQ around them; the outer ones stay.

    Args:
        path: the exported file.
        images: network inputs (1, 3, H, W) float32 that the ranges are taken from.

    Raises:
        ValueError: no calibration images, or a file that is quantised already.
    """
    return _quantize(path, images, ["Conv"], signed=True)


def to_int8_for_cpu(path: Path, images: Iterable[np.ndarray], bits: int = 7) -> bytes:
    """For CPUs: as ``to_int8``, but maps are unsigned, which is what x86 multiplies.

    They stay bytes from one convolution to the next, through sums and resizes as well. Without VNNI
    two products are summed in 16 bits, which weights of 8 ``bits`` overflow (mask AP .31 → .07), so
    the file says that it needs VNNI (``model_file.check_cpu_support``); with 7 it runs everywhere.
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
        raise InputError("int8: expected calibration images, got none; name a folder of pictures")
    model = onnx.load(path)
    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise InputError(f"{path}: quantised already, expected a float32 file of kdc export")
    kept = outer_nodes(model)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        # a copy: quantize_static writes beside the file that it reads
        source, out = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            str(source), str(out), reader, quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8, op_types_to_quantize=operators,
            nodes_to_exclude=kept,
            extra_options={
                "ActivationSymmetric": signed, "WeightSymmetric": True,
                "QuantizeBias": not signed,
                "AddQDQPairToWeight": signed,  # TensorRT 8 takes no weights that are bytes already
                "TensorQuantOverrides": _seven_bits(model, kept) if bits == 7 else {},
                # of the ranges of single pictures: the widest of all wastes bits on one of them
                "CalibMovingAverage": True,
                "CalibMovingAverageConstant": 0.05,
            },
        )  # fmt: skip
        quantised = onnx.load(out)
    needs = {} if signed or bits == 7 else NEEDS_VNNI
    properties = {p.key: p.value for p in model.metadata_props} | needs
    onnx.helper.set_model_props(quantised, properties)
    return bytes(quantised.SerializeToString())


def _seven_bits(model: Any, kept: list[str]) -> dict[str, list[dict[str, Any]]]:
    """For the weights of all convolutions but depthwise ones: their sums do not overflow."""
    from onnxruntime.quantization import QuantType

    how = {"quant_type": QuantType.QInt8, "axis": 0, "symmetric": True, "reduce_range": True}
    return {
        node.input[1]: [how]
        for node in model.graph.node
        if node.op_type == "Conv" and node.name not in kept
        and all(a.i == 1 for a in node.attribute if a.name == "group")
    }  # fmt: skip


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without ONNX Runtime's advice to prepare the graph: ``export`` has done so."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


class _Reader:
    """What ``quantize_static`` calls for one input after another."""

    def __init__(self, images: Iterable[np.ndarray]) -> None:
        self.rest: Iterator[np.ndarray] = iter(images)
        self.first = next(self.rest, None)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input, None after the last."""
        image, self.first = self.first, None
        image = next(self.rest, None) if image is None else image
        return None if image is None else {"image": image}


def outer_nodes(model: Any) -> list[str]:
    """Names of the convolutions with none before or none after them, and of all outside these.

    They stay as they are: offsets need their bits, and the first convolution loses most. With it on
    8 bits, too, mask AP fell from .235 to .195, without it to .232.
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
    """Nodes that are met on the way from some values, up to the first convolutions."""
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
