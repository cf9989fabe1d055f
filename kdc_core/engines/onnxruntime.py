"""ONNX Runtime on the CPU: the default engine, a small dependency on every platform."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from kdc_core.config import ModelInfo
from kdc_core.engines.model_file import check_cpu_support
from kdc_core.engines.network_input import preprocess
from kdc_core.errors import InputError
from kdc_core.types import Fields, Frame


class OnnxRuntimeEngine:
    """Run an exported ONNX file with ONNX Runtime."""

    def __init__(self, model: Path, threads: int = 0, long_side: int | None = None):
        """Load the model.

        Args:
            model: a file written by ``kdc export`` or ``kdc quantize``.
            threads: CPU threads; 0 uses all cores.
            long_side: longest side of the network's input, pixels; None uses the model's own value.

        Raises:
            InputError: the file is not a KDC model, or the CPU cannot run it without overflow.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that sleep between operators make a frame 10 % slower. Threads that spin between
        # frames take the cores from the decoder and from ROS.
        options.add_session_config_entry("session.intra_op.spin_duration_us", "200")
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 3  # errors only: users cannot act on its warnings
        try:
            self.session = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no other common base
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{model}: expected an ONNX file, cannot read it: {reason}") from None
        try:
            metadata = self.session.get_modelmeta().custom_metadata_map
            self.info = ModelInfo.from_metadata(metadata).at(long_side)
        except InputError as error:
            raise InputError(f"{model}: {error}") from None
        check_cpu_support(model, metadata)
        self.model = model
        self.name = f"onnxruntime {onnxruntime.__version__}, {threads or 'all'} threads"

    def __call__(self, frame: Frame) -> Fields:
        """Run one forward pass."""
        image, letterbox = preprocess(frame, self.info)
        if self.session is None:
            raise ValueError("engine onnxruntime: used after close()")
        fields, seg = self.session.run(["fields", "seg"], {"image": image})
        return Fields.from_tensors(fields, seg, self.info.radius, letterbox)

    def close(self) -> None:
        """Release memory and threads. A second call does nothing."""
        self.session = None
