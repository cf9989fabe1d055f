"""OpenVINO on the CPU: taken when installed, because it is faster than ONNX Runtime there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino

from kdc_core.config import ModelInfo
from kdc_core.engines.preprocess import preprocess
from kdc_core.types import Fields, Frame


class OpenVinoEngine:
    """Frame → Fields from an exported ONNX file."""

    def __init__(self, model: Path, threads: int = 0, long_side: int | None = None):
        """``threads`` 0 takes all cores."""
        core = openvino.Core()
        network, self.info = _read(core, model)
        options: dict[str, str | int] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        self.request = core.compile_model(network, "CPU", options).create_infer_request()
        self.longest = long_side or self.info.longest
        version = openvino.__version__.split("-")[0]
        self.name = f"openvino {version}, {threads or 'all'} threads"

    def __call__(self, frame: Frame) -> Fields:
        """One forward pass."""
        image, letterbox = preprocess(frame, self.longest)
        results = self.request.infer({"image": image}, share_inputs=True)
        # copies: the next frame overwrites the request's own buffers
        fields, seg = (np.array(results[name]) for name in ("fields", "seg"))
        return Fields.from_tensors(fields, seg, self.info.radius, letterbox)

    def close(self) -> None:
        """Give the request's memory and threads back."""
        self.request = None


def _read(core: openvino.Core, path: Path) -> tuple[openvino.Model, ModelInfo]:
    try:
        network = core.read_model(str(path))
    except RuntimeError as error:
        reason = [line for line in str(error).splitlines() if not line.startswith("Exception")]
        raise ValueError(
            f"{path}: expected an ONNX file, cannot read it: {' '.join(reason)[:120]}"
        ) from None
    try:
        # the ONNX metadata lies under "framework"
        stored = network.get_rt_info(["framework"]) if network.has_rt_info(["framework"]) else None
        text = {name: str(value) for name, value in stored.value.items()} if stored else {}
        return network, ModelInfo.from_metadata(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
