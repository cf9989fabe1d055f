"""PyTorch on the CPU or a GPU: the reference for the accuracy of the other engines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from kdc_core.config import ModelInfo
from kdc_core.engines.network_input import preprocess
from kdc_core.errors import InputError
from kdc_core.network import (
    Inference,
    KdcNet,
    NetworkConfig,
    for_inference,
    load_tensors,
    load_torch_file,
)
from kdc_core.types import Fields, Frame


class TorchEngine:
    """Run a training checkpoint with PyTorch."""

    def __init__(self, model: Path, threads: int = 0, long_side: int | None = None):
        """Load the checkpoint on a GPU if torch finds one, else on the CPU.

        Args:
            model: a checkpoint of ``kdc train``.
            threads: CPU threads; 0 uses torch's default.
            long_side: longest side of the network's input, pixels; None uses the model's own value.

        Raises:
            InputError: the file is not a KDC checkpoint.
        """
        net, info = load_checkpoint(model)
        if threads:
            torch.set_num_threads(threads)
        self.model, self.info = model, info.at(long_side)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # convolutions are faster in this memory layout; torch's stubs lack the argument
        inference = Inference(net).eval().to(self.device)
        self.net: Inference | None = inference.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.name = f"torch {torch.__version__}, {self.device}"
        if self.device.type == "cpu":
            self.name += f", {torch.get_num_threads()} threads"

    def __call__(self, frame: Frame) -> Fields:
        """Run one forward pass."""
        if self.net is None:
            raise ValueError("engine torch: used after close()")
        image, letterbox = preprocess(frame, self.info)
        with torch.inference_mode():
            fields, seg = self.net(torch.from_numpy(image).to(self.device))
        return Fields.from_tensors(
            fields.cpu().numpy(), seg.cpu().numpy(), self.info.radius, letterbox
        )

    def close(self) -> None:
        """Release the weights. A second call does nothing."""
        self.net = None


def load_checkpoint(path: Path) -> tuple[KdcNet, ModelInfo]:
    """Load a checkpoint for inference.

    Args:
        path: a checkpoint of ``kdc train``.

    Returns:
        The network in ``eval`` mode, and its metadata.

    Raises:
        InputError: the file is not a KDC checkpoint, or one of an incompatible version.
    """
    content = load_torch_file(path)
    content = content if isinstance(content, dict) else {}
    missing = {"model", "info", "network"} - content.keys()
    if missing:
        raise InputError(f"{path}: not a KDC checkpoint: lacks {', '.join(sorted(missing))}")
    try:
        config = NetworkConfig(**content["network"])
        info = replace(ModelInfo(**content["info"]), octaves=config.octaves)
    except TypeError as error:
        raise InputError(f"{path}: checkpoint of an incompatible version: {error}") from None
    net = KdcNet(for_inference(config))
    load_tensors(net, content["model"], str(path))
    return net.eval(), info
