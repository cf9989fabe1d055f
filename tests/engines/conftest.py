"""Write a small network with random weights as a checkpoint and as an ONNX file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import pytest


class Models(NamedTuple):
    checkpoint: Path
    onnx: Path
    difference: float


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Models:
    torch = pytest.importorskip("torch", reason="export needs torch")
    pytest.importorskip("onnx", reason="export needs onnx")

    from kdc_core.network.model import KdcNet, NetworkConfig
    from kdc_lab.convert.to_onnx import export
    from tests.networks import as_if_trained

    torch.manual_seed(0)
    net = KdcNet(NetworkConfig("efficientnet_lite0", neck_channels=16, seg_channels=8))
    as_if_trained(net)
    with torch.no_grad():
        net.heads.fields.weight *= 30  # offsets of several R
        net.heads.seg.weight *= 30
    folder = tmp_path_factory.mktemp("models")
    checkpoint, onnx = folder / "small.pt", folder / "small.onnx"
    info = asdict(net.config.info("lite", 160))
    torch.save({"model": net.state_dict(), "info": info, "network": asdict(net.config)}, checkpoint)
    return Models(checkpoint, onnx, export(checkpoint, onnx))
