"""Fixtures for all tests. Helpers are imported from the package ``tests``."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a small network with random weights; its outputs have no meaning."""
    import torch

    from kdc_core.network.model import Inference, KdcNet, NetworkConfig
    from kdc_lab.convert.to_onnx import export_network

    torch.manual_seed(0)
    config = NetworkConfig(
        "efficientnet_lite0", neck_channels=16, trunk_depth=1, seg_channels=16, seg_depth=1
    )
    path = tmp_path_factory.mktemp("model") / "random.onnx"
    export_network(Inference(KdcNet(config)).eval(), config.info("lite", 96), path)
    return str(path)


@pytest.fixture
def coco(tmp_path: Path) -> tuple[str, str]:
    """Write the images and the annotations of three scenes; return both paths."""
    from tests.coco_files import two_scenes, write

    images, annotations = write(tmp_path, two_scenes())
    return str(images), str(annotations)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train with the gradients of torch: compiling others takes minutes for a new network."""
    from kdc_lab.training import depthwise

    monkeypatch.setattr(depthwise, "can_compile", lambda: False)
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")  # for the processes of a test
