"""ONNX Runtime on the CPU: the default, one small dependency on every platform."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from kdc_core.config import ModelInfo
from kdc_core.engines.model_file import check_cpu_support
from kdc_core.engines.network_input import preprocess
from kdc_core.errors import InputError
from kdc_core.types import Fields, Frame


class OnnxRuntimeEngine:
    """Frame → Fields from an exported ONNX file."""

    def __init__(self, model: Path, threads: int = 0, long_side: int | None = None):
        """``threads`` 0 takes all cores."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # threads that sleep between two operators cost a tenth of the time; those that spin between
        # two frames would take the cores from the decoder and from ROS
        options.add_session_config_entry("session.intra_op.spin_duration_us", "200")
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 3  # errors: warnings name nothing that a user can change
        try:
            self.session = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common base but this one
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{model}: expected an ONNX file, cannot read it: {reason}") from None
        try:
            metadata = self.session.get_modelmeta().custom_metadata_map
            self.info = ModelInfo.from_metadata(metadata).at(long_side)
        except ValueError as error:
            raise InputError(f"{model}: {error}") from None
        check_cpu_support(model, metadata)
        self.model = model
        self.name = f"onnxruntime {onnxruntime.__version__}, {threads or 'all'} threads"

    def __call__(self, frame: Frame) -> Fields:
        """One forward pass."""
        image, letterbox = preprocess(frame, self.info)
        fields, seg = self.session.run(["fields", "seg"], {"image": image})
        return Fields.from_tensors(fields, seg, self.info.radius, letterbox)

    def close(self) -> None:
        """Give the session's memory and threads back."""
        self.session = None
