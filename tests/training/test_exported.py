"""Test training from an exported file: the same network, with trainable batch norms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
onnx = pytest.importorskip("onnx", reason="exported files need onnx")

from kdc_core.engines.precision import to_int8_for_cpu  # noqa: E402
from kdc_core.network.model import Inference, KdcNet, for_inference, preset  # noqa: E402
from kdc_lab.convert.from_onnx import convolutions, module_name, read_exported  # noqa: E402
from kdc_lab.convert.to_onnx import export, export_network, largest_difference  # noqa: E402
from kdc_lab.training import train as loop  # noqa: E402
from kdc_lab.training.init_from_onnx import fill_norm_statistics, network_from_export  # noqa: E402
from kdc_lab.training.pack import read_all  # noqa: E402
from kdc_lab.training.train_config import TrainConfig  # noqa: E402
from tests.networks import as_if_trained  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_compiler")


def write(folder: Path, name: str) -> Path:
    """Write a network that looks trained; return its path."""
    torch.manual_seed(0)
    net = KdcNet(for_inference(preset(name))).eval()
    as_if_trained(net)
    path = folder / f"{name}.onnx"
    export_network(Inference(net).eval(), net.config.info(name, 128), path)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("exported"), "lite")


@pytest.mark.parametrize("name", ["lite", "lite-movenet", "base"])
def test_network_from_export_has_the_outputs_of_the_file(name, exported, tmp_path):
    path = exported if name == "lite" else write(tmp_path, name)
    net = network_from_export(path, name)
    assert largest_difference(Inference(net).eval(), path) <= 1e-4
    images = [torch.rand(4, 3, 64, 64) * 255 for _ in range(3)]
    fill_norm_statistics(net, images)
    assert largest_difference(Inference(net).eval(), path) <= 1e-4
    # the training mode, with the statistics of a batch, gives the outputs of the file as well
    net.eval()
    with torch.no_grad():
        whole = torch.cat(images)
        still, moving = net(whole), net.train()(whole)
    for a, b in zip(still, moving, strict=True):
        assert (a - b).abs().mean() < 0.05 * (a - a.mean()).abs().mean()


def test_export_changes_the_number_of_scales(exported, tmp_path):
    out = tmp_path / "three.onnx"
    assert export(exported, out, 256, octaves=3) <= 1e-4
    _, info = read_exported(out)
    assert (info.octaves, info.multiple, info.longest) == (3, 128, 256)
    before, after = convolutions(exported), convolutions(out)
    assert before.keys() == after.keys() and len(before) > 50
    for conv, weights in before.items():
        assert all(map(torch.equal, weights, after[conv]))  # bit for bit


def test_train_starts_from_an_exported_file(exported, small_set, tmp_path, monkeypatch):
    pack, _ = read_all([small_set], [], [])
    tiny = {"crop": 64, "longest": 64, "batch": 4, "log_every": 1, "image_every": 1000}
    run = TrainConfig(out=str(tmp_path / "run"), init=str(exported), iterations=1, **tiny)
    read, seen = loop.fill_norm_statistics, []
    monkeypatch.setattr(
        loop, "fill_norm_statistics", lambda net, images: seen.append(read(net, images))
    )
    loop.train(run, pack)
    loop.train(replace(run, iterations=2), pack, resume=True)
    assert len(seen) == 1  # a resumed run has its own statistics


@pytest.mark.parametrize(
    ("node", "module"),
    [
        ("/net/backbone/stem/Conv", "backbone.stem"),
        ("/net/backbone/blocks.0/depthwise_1/Conv", "backbone.blocks.0.depthwise"),
        ("/net/heads/inside/inside.0/inside.0.1/inside.0.1.0_1/Conv", "heads.inside.0.1.0"),
    ],
)
def test_module_name_of_a_node(node, module):
    assert module_name(node) == module


def test_read_exported_refuses_wrong_files_in_one_line(exported, tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        read_exported(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match="preset base, got one of lite"):
        network_from_export(exported, "base")
    int8 = tmp_path / "int8.onnx"
    int8.write_bytes(to_int8_for_cpu(exported, [torch.zeros(1, 3, 64, 64).numpy()]))
    with pytest.raises(ValueError, match="quantised"):
        read_exported(int8)
    model = onnx.load(exported)
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    conv.name = "/net/another/Conv"
    renamed = tmp_path / "renamed.onnx"
    onnx.save(model, renamed)
    with pytest.raises(ValueError, match="lacks 5 tensors"):
        read_exported(renamed)
    model = onnx.load(exported)
    del next(node for node in model.graph.node if node.op_type == "Conv").input[2]
    onnx.save(model, renamed)
    with pytest.raises(ValueError, match="lacks 4 tensors"):
        read_exported(renamed)
