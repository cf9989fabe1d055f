"""PyTorch on the CPU or a GPU: the reference that the other engines are measured against."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from kdc_core.config import ModelInfo
from kdc_core.engines.network_input import preprocess
from kdc_core.errors import InputError
from kdc_core.network import Inference, KdcNet, NetworkConfig, fill, for_inference, read_file
from kdc_core.types import Fields, Frame


class TorchEngine:
    """Frame → Fields from a training checkpoint."""

    def __init__(self, model: Path, threads: int = 0, long_side: int | None = None):
        """``threads`` 0 leaves torch's own choice; a GPU is used where torch finds one."""
        net, info = load_checkpoint(model)
        if threads:
            torch.set_num_threads(threads)
        self.model, self.info = model, info.at(long_side)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net = Inference(net).eval().to(self.device, memory_format=torch.channels_last)
        self.name = f"torch {torch.__version__}, {self.device}"
        if self.device.type == "cpu":
            self.name += f", {torch.get_num_threads()} threads"

    def __call__(self, frame: Frame) -> Fields:
        """One forward pass."""
        image, letterbox = preprocess(frame, self.info)
        with torch.inference_mode():
            fields, seg = self.net(torch.from_numpy(image).to(self.device))
        return Fields.from_tensors(
            fields.cpu().numpy(), seg.cpu().numpy(), self.info.radius, letterbox
        )

    def close(self) -> None:
        """Give the weights' memory back."""
        self.net = None


def load_checkpoint(path: Path) -> tuple[KdcNet, ModelInfo]:
    """Network in ``eval`` mode, in its form for inference, and its info; wrong file: ValueError."""
    content = read_file(path)
    missing = {"model", "info", "network"} - set(content if isinstance(content, dict) else ())
    if missing:
        raise InputError(f"{path}: not a KDC checkpoint: lacks {', '.join(sorted(missing))}")
    try:
        config = NetworkConfig(**content["network"])
        info = replace(ModelInfo(**content["info"]), octaves=config.octaves)
    except TypeError as error:
        raise InputError(f"{path}: checkpoint of another version: {error}") from None
    net = KdcNet(for_inference(config))
    fill(net, content["model"], str(path))
    return net.eval(), info
