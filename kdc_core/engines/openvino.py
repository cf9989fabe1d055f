"""OpenVINO on the CPU: preferred if installed, because it is faster than ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
from openvino.frontend import FrontEndManager

from kdc_core.config import ModelInfo
from kdc_core.engines.model_file import check_cpu_support
from kdc_core.engines.network_input import preprocess
from kdc_core.errors import InputError
from kdc_core.types import Fields, Frame


class OpenVinoEngine:
    """Run an exported ONNX file with OpenVINO."""

    def __init__(self, model: Path, threads: int = 0, long_side: int | None = None):
        """Load and compile the model.

        Args:
            model: a file written by ``kdc export`` or ``kdc quantize``.
            threads: CPU threads; 0 uses all cores.
            long_side: longest side of the network's input, pixels; None uses the model's own value.

        Raises:
            InputError: the file is not a KDC model, or the CPU cannot run it without overflow.
        """
        network, info = _read(model)
        options: dict[str, str | int] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        compiled = openvino.Core().compile_model(network, "CPU", options)
        self.request = compiled.create_infer_request()
        self.model, self.info = model, info.at(long_side)
        version = openvino.__version__.split("-")[0]
        self.name = f"openvino {version}, {threads or 'all'} threads"

    def __call__(self, frame: Frame) -> Fields:
        """Run one forward pass."""
        image, letterbox = preprocess(frame, self.info)
        results = self.request.infer({"image": image}, share_inputs=True)
        # copies, because the next frame overwrites the buffers of the request
        fields, seg = (np.array(results[name]) for name in ("fields", "seg"))
        return Fields.from_tensors(fields, seg, self.info.radius, letterbox)

    def close(self) -> None:
        """Release memory and threads. A second call does nothing."""
        self.request = None


def _read(path: Path) -> tuple[openvino.Model, ModelInfo]:
    # Core.read_model tries its other formats on a broken file and prints their errors
    reader = FrontEndManager().load_by_framework("onnx")
    try:
        network = reader.convert(reader.load(str(path)))
    except Exception as error:  # its exceptions have no other common base
        reason = (str(error).splitlines() or [type(error).__name__])[-1][:120]
        raise InputError(f"{path}: expected an ONNX file, cannot read it: {reason}") from None
    try:
        # OpenVINO stores the ONNX metadata under "framework"
        stored = network.get_rt_info(["framework"]) if network.has_rt_info(["framework"]) else None
        text = {name: str(value) for name, value in stored.value.items()} if stored else {}
        info = ModelInfo.from_metadata(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    check_cpu_support(path, text)
    return network, info
