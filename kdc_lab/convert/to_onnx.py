"""Export a network to an ONNX file that every engine can read.

The graph contains convolutions (with batch norms folded), element-wise operations, nearest or
bilinear resizes and a depth-to-space. Height and width are free. The metadata describe the model.
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
TOLERANCE = 1e-4  # largest accepted difference to torch, see ``largest_difference``
TEST_SIZES = ((3, 4), (7, 5))  # height and width of the compared images, in ``info.multiple``


def export(
    source: Path, out: Path, longest: int | None = None, octaves: int | None = None
) -> float:
    """Export a network and compare the file with torch.

    Args:
        source: a checkpoint, or a float32 file written by ``export``.
        out: the ONNX file. It is not touched if the export fails.
        longest: longest side of the network's input in pixels, for the metadata; None keeps the
            value of ``source``.
        octaves: number of image scales that the network combines; None keeps the value of
            ``source``.

    Returns:
        The largest difference to torch, see ``largest_difference``.

    Raises:
        InputError: ``source`` cannot be read, ``out`` is not a path for an ONNX file, or the
            difference is larger than ``TOLERANCE``.
    """
    net, info = (read_exported if source.suffix == ".onnx" else load_checkpoint)(source)
    net.config = replace(net.config, octaves=octaves or info.octaves)
    info = replace(info.at(longest), octaves=net.config.octaves)
    return export_network(Inference(net).eval(), info, out)


def export_network(net: Inference, info: ModelInfo, out: Path) -> float:
    """Export a network in memory (in ``eval`` mode, on the CPU); see ``export``."""
    import onnx

    out = Path(out)
    if out.suffix != ".onnx" or not out.parent.is_dir():
        raise InputError(f"export: expected FOLDER/NAME.onnx in an existing folder, got {out}")
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        draft = Path(folder) / "draft.onnx"
        trace(net, info, draft)
        model = onnx.load(_simplified(draft))
        fold_pads(model)
        for opset in [o for o in model.opset_import if o.domain]:
            model.opset_import.remove(opset)  # domains of ONNX Runtime that the graph does not use
        onnx.helper.set_model_props(model, info.to_metadata())
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, draft)
        difference = largest_difference(net, draft)
        if not difference <= TOLERANCE:  # also refuses NaN
            raise InputError(
                f"export: ONNX and torch differ by {difference:.1e}, more than {TOLERANCE:.0e}; "
                f"{out} was not written"
            )
        draft.replace(out)
    return difference


def trace(net: Inference, info: ModelInfo, path: Path) -> None:
    """Trace the network with the TorchScript exporter: 1 s, the newer exporter takes 15 s."""
    height, width = (n * info.multiple for n in TEST_SIZES[0])
    image = torch.zeros(1, 3, height, width)
    free = {2: "height", 3: "width"}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its deprecation, and constants that it cannot infer
        torch.onnx.export(
            net,
            (image,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["fields", "seg"],
            dynamic_axes={
                "image": free,
                "fields": {2: "rows", 3: "columns"},
                "seg": {2: "seg_rows", 3: "seg_columns"},
            },
        )


def _simplified(path: Path) -> Path:
    """Fold constants and remove identities with ONNX Runtime; keep to standard operators."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path.with_name("simplified.onnx"))
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return path.with_name("simplified.onnx")


def fold_pads(model: Any) -> int:
    """Move zero padding before a convolution into the convolution.

    Convolutions in ONNX, unlike those in PyTorch, can have asymmetric padding. A padded copy of a
    map with many channels costs more time than the convolution itself.

    Returns:
        The number of folded Pad nodes.
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
        amounts = constants[pad.input[1]].tolist()  # of four axes, first before, then after
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
    """Return the largest difference between torch and ONNX Runtime for two image sizes.

    Differences of a channel are relative to its largest value if that is above 1, else absolute.
    Offsets reach 50 R, where rounding to float32 alone makes a difference of 2e-4.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
    info = ModelInfo.from_metadata(session.get_modelmeta().custom_metadata_map)
    rng = np.random.default_rng(0)
    worst = []
    for size in TEST_SIZES:
        height, width = (n * info.multiple for n in size)
        # blocks of colour excite all strides, as photographs do; pixel noise would not
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
