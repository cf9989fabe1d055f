"""A network becomes an ONNX file that every engine reads, or is refused.

The graph holds convolutions (batch norms folded), element-wise operations, nearest or bilinear
resizes and a depth-to-space; height and width are free. The file says what it is in its metadata.
"""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdc_core.config import ModelInfo
from kdc_core.engines import load_checkpoint
from kdc_core.errors import InputError
from kdc_core.network import Inference
from kdc_lab.convert.from_onnx import read_exported

OPSET = 17  # the newest that TensorRT 8.6 reads
TOLERANCE = 1e-4  # largest difference to torch, of the range of a channel (see below)
TEST_SIZES = ((3, 4), (7, 5))  # height and width of the pictures compared, in multiples


def export(
    source: Path, out: Path, longest: int | None = None, octaves: int | None = None
) -> float:
    """Write ``out`` and return the largest difference to torch; above ``TOLERANCE``: ValueError.

    A refused file is not written, and an older one at ``out`` stays as it was.

    Args:
        source: a checkpoint, or a float32 file written by ``export``.
        out: ONNX file.
        longest: what ``ModelInfo`` will say; default: as in ``source``.
        octaves: sizes at which the network looks at a picture; default: as in ``source``.
    """
    net, info = (read_exported if source.suffix == ".onnx" else load_checkpoint)(source)
    net.config = replace(net.config, octaves=octaves or info.octaves)
    info = replace(info.at(longest), octaves=net.config.octaves)
    return export_network(Inference(net).eval(), info, out)


def export_network(net: Inference, info: ModelInfo, out: Path) -> float:
    """As ``export``, from a network in memory (in ``eval`` mode, on the CPU)."""
    import onnx

    out = Path(out)
    if out.suffix != ".onnx" or not out.parent.is_dir():
        raise InputError(f"export: expected a path FOLDER/NAME.onnx in an existing folder: {out}")
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        draft = Path(folder) / "draft.onnx"
        _trace(net, info, draft)
        model = onnx.load(_simplified(draft))
        fold_pads(model)
        for opset in [o for o in model.opset_import if o.domain]:
            model.opset_import.remove(opset)  # names of ONNX Runtime's own, unused
        onnx.helper.set_model_props(model, info.to_metadata())
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, draft)
        difference = largest_difference(net, draft)
        if not difference <= TOLERANCE:  # also refuses NaN
            raise InputError(
                f"export: ONNX and torch differ by {difference:.1e}, more than {TOLERANCE:.0e}: "
                f"{out} was not written"
            )
        draft.replace(out)
    return difference


def _trace(net: Inference, info: ModelInfo, path: Path) -> None:
    """Trace with the TorchScript exporter: one second, where the newer one takes fifteen."""
    height, width = (n * info.multiple for n in TEST_SIZES[0])
    image = torch.zeros(1, 3, height, width)
    free = {2: "height", 3: "width"}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its deprecation, and of constants it cannot infer
        torch.onnx.export(
            net, (image,), str(path), dynamo=False, opset_version=OPSET,
            input_names=["image"], output_names=["fields", "seg"],
            dynamic_axes={
                "image": free,
                "fields": {2: "rows", 3: "columns"},
                "seg": {2: "seg_rows", 3: "seg_columns"},
            },
        )  # fmt: skip


def _simplified(path: Path) -> Path:
    """Constants folded, identities removed, by ONNX Runtime; still only standard operators."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path.with_name("simplified.onnx"))
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return path.with_name("simplified.onnx")


def fold_pads(model: Any) -> int:
    """Move zero padding in front of a convolution into the convolution; returns how many.

    PyTorch has no asymmetric padding in a convolution, ONNX has, and a padded copy of a map with
    many channels costs more than the convolution itself.
    """
    import onnx

    graph = model.graph
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    pads = {node.output[0]: node for node in graph.node if node.op_type == "Pad"}
    folded = []
    for conv in (node for node in graph.node if node.op_type == "Conv"):
        pad = pads.get(conv.input[0])
        if pad is None or readers[conv.input[0]] > 1 or not _is_zero_border(pad, constants):
            continue
        amounts = constants[pad.input[1]].tolist()  # before and after of each of four axes
        own = next(a for a in conv.attribute if a.name == "pads").ints
        own[:] = [a + b for a, b in zip(own, amounts[2:4] + amounts[6:8], strict=True)]
        conv.input[0] = pad.input[0]
        folded.append(pad)
    for pad in folded:
        graph.node.remove(pad)
    used = {name for node in graph.node for name in node.input}
    for tensor in [t for t in graph.initializer if t.name not in used]:
        graph.initializer.remove(tensor)
    return len(folded)


def _is_zero_border(pad: Any, constants: dict[str, np.ndarray]) -> bool:
    amounts = constants.get(pad.input[1])
    filler = pad.input[2] if len(pad.input) > 2 else ""
    mode = next((a.s for a in pad.attribute if a.name == "mode"), b"constant")
    zero = not filler or (filler in constants and not constants[filler].any())
    return amounts is not None and not amounts[[0, 1, 4, 5]].any() and mode == b"constant" and zero


def largest_difference(net: Inference, onnx_file: Path) -> float:
    """Largest difference of the outputs between torch and ONNX Runtime, at two sizes.

    Probabilities are compared as they are, offsets in units of R as a share of the channel's
    largest value where that is above 1: at 50 R, rounding to float32 alone is worth 2e-4.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
    info = ModelInfo.from_metadata(session.get_modelmeta().custom_metadata_map)
    rng = np.random.default_rng(0)
    worst = []
    for size in TEST_SIZES:
        height, width = (n * info.multiple for n in size)
        # blocks of colour, not pixel noise: like a picture it excites all strides
        small = rng.uniform(0, 255, (1, 3, height // 16, width // 16)).astype(np.float32)
        image = np.kron(small, np.ones((16, 16), np.float32))
        with torch.no_grad():
            expected = net(torch.from_numpy(image))
        for got, want in zip(session.run(None, {"image": image}), expected, strict=True):
            worst.append(_relative(got, want.numpy()))
    return float(np.max(worst))


def _relative(got: np.ndarray, want: np.ndarray) -> float:
    if got.shape != want.shape:
        return float("inf")
    span = np.maximum(np.abs(want).max(axis=(0, 2, 3), keepdims=True), 1)
    return float((np.abs(got - want) / span).max())
