"""The network's outputs: shapes, priors, activations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network needs torch")

from kdc_core.engines.network_input import preprocess  # noqa: E402
from kdc_core.letterbox import cell_centres  # noqa: E402
from kdc_core.network.model import (  # noqa: E402
    COARSE_HEAT,
    HEAT_PRIOR,
    SEG_PRIOR,
    TYPICAL_SIGMA,
    Inference,
    KdcNet,
    NetworkConfig,
    for_inference,
    preset,
)
from kdc_core.skeleton import CHANNELS, HEADS, channel_slices  # noqa: E402
from kdc_core.types import Fields, Frame  # noqa: E402

SMALL = NetworkConfig("efficientnet_lite0", neck_channels=16, trunk_depth=1, seg_channels=8)


def network(config: NetworkConfig) -> KdcNet:
    torch.manual_seed(0)
    return KdcNet(config).eval()


@pytest.mark.parametrize(("seg_stride", "octaves"), [(2, 1), (2, 2), (2, 3), (4, 1), (8, 2)])
@pytest.mark.parametrize("size", [(333, 187), (64, 31), (1, 1)])  # (width, height)
def test_inference_grids_of_odd_frames(size, seg_stride, octaves):
    net = Inference(network(replace(SMALL, seg_stride=seg_stride, octaves=octaves)))
    rng = np.random.default_rng(0)
    frame = Frame(rng.integers(0, 256, (size[1], size[0], 3), np.uint8))
    image, letterbox = preprocess(frame, net.net.config.info("lite", 160))
    with torch.no_grad():
        fields, seg = net(torch.from_numpy(image))
    width, height = letterbox.input_size
    assert fields.shape == (1, CHANNELS, height // 8, width // 8)
    assert seg.shape == (1, 1, height // seg_stride, width // seg_stride)
    parsed = Fields.from_tensors(fields.numpy(), seg.numpy(), 16.0, letterbox)
    assert (parsed.stride, parsed.seg_stride) == (8, seg_stride)


@pytest.mark.parametrize("name", ["lite", "base", "paper"])
def test_preset_starts_at_its_priors(name):
    config = preset(name)
    with torch.no_grad():
        fields, seg = network(config)(torch.full((1, 3, 64, 64), 114.0))
    where = channel_slices()
    assert fields.shape == (1, CHANNELS, 8, 8)
    assert seg.shape == (1, 1, 64 // config.seg_stride, 64 // config.seg_stride)
    assert torch.sigmoid(fields[:, where["heat"]]).mean() == pytest.approx(HEAT_PRIOR, rel=0.5)
    assert torch.sigmoid(seg).mean() == pytest.approx(SEG_PRIOR, rel=0.5)
    sigma = config.radius * torch.exp(fields[:, where["log_sigma"]]).mean()
    assert sigma == pytest.approx(TYPICAL_SIGMA, rel=0.5)


def test_inference_applies_the_activations_of_the_heads():
    net = network(SMALL)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 255
    with torch.no_grad():
        (logits, seg_logits), (fields, seg) = net(image), Inference(net)(image)
    assert torch.equal(seg, torch.sigmoid(seg_logits))
    for head in HEADS:
        where = channel_slices()[head.name]
        expected = logits[:, where]
        if head.activation == "sigmoid":
            expected = torch.sigmoid(expected)
        assert torch.equal(fields[:, where], expected), head.name


def test_normalisation_is_not_a_weight():
    net = network(SMALL)
    assert not any("mean" == name or "std" in name for name in net.state_dict())
    seen = []
    net.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net(torch.full((1, 3, 32, 32), 255.0))
    assert float(seen[0].max()) == pytest.approx(1.0)  # (255 - 127) / 128


def test_for_inference_of_paper():
    config = replace(preset("paper"), backbone="resnet50")
    trained, evaluated = network(config), KdcNet(for_inference(config))
    evaluated.load_state_dict(trained.state_dict())
    image = torch.zeros(1, 3, 64, 96)
    with torch.no_grad():
        at16, at8 = (net.eval().backbone(image)[-1] for net in (trained, evaluated))
        fields, seg = evaluated(image)
    assert tuple(at16.shape[2:]) == (4, 6)
    assert tuple(at8.shape[2:]) == (8, 12)
    assert fields.shape[2:] == (8, 12) and seg.shape[2:] == (32, 48)
    assert for_inference(preset("lite")) == preset("lite")


def test_inference_takes_near_people_from_the_half_scale():
    """Fields of both scales point at one position; only cells of near people are replaced.

    Pixel (x, y) of the half-size image is at (2x + 0.5, 2y + 0.5).
    """
    net = Inference(network(replace(SMALL, octaves=2)))
    where, radius, place = channel_slices(), SMALL.radius, torch.tensor([40.0, 90.0])
    sigma = torch.full((1, 16, 16), 20.0)
    sigma[:, :, 8:] = 300.0  # input pixels; in the right half a person is near
    inputs = []

    def forward_scale(image):
        """Offsets to ``place``, heat and mask 0.5 at full size, 0.1 at half size."""
        rows, columns = (side // 8 for side in image.shape[2:])
        octave = 16 // rows
        cells = torch.from_numpy(cell_centres(rows, columns, 8))
        offsets = ((place - 0.5 * (octave - 1)) / octave - cells).permute(2, 0, 1) / radius
        fields = torch.full((1, CHANNELS, rows, columns), 0.1 if octave == 2 else 0.5)
        fields[:, where["anchor"]] = offsets.repeat(18, 1, 1)
        own = sigma[:, ::octave, ::octave] / octave
        fields[:, where["log_sigma"]] = torch.log(own / radius)
        inputs.append(image)
        return fields, fields[:, :1].repeat_interleave(4, 2).repeat_interleave(4, 3)

    net.forward_scale = forward_scale
    image = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 255
    fields, seg = net(image)
    assert [x.shape[2] for x in inputs] == [64, 128]
    assert torch.allclose(inputs[0][0, 0, 3, 5], image[0, 0, 6:8, 10:12].mean())
    cells = torch.from_numpy(cell_centres(16, 16, 8))
    targets = cells.permute(2, 0, 1) + radius * fields[0, where["anchor"]][:2]
    inner = (slice(None), slice(1, -1), slice(1, -1))  # bilinear: the outermost cells are clamped
    assert torch.allclose(targets[inner], place[:, None, None].expand_as(targets[inner]), atol=0.05)
    far, near = fields[0, where["vis"]][0, :, :6], fields[0, where["vis"]][0, :, 10:]
    assert torch.allclose(far, torch.tensor(0.5), atol=0.01)
    assert torch.allclose(near, torch.tensor(0.1), atol=0.01)
    assert fields[0, where["heat"]][0, 8, 12] == pytest.approx(0.1 * COARSE_HEAT, abs=0.01)
    assert torch.allclose(
        fields[:, where["log_sigma"]][0, 0, :, 12].exp() * radius, torch.tensor(300.0), rtol=0.01
    )
    assert (seg[0, 0, 30, 4], seg[0, 0, 30, 60]) == pytest.approx((0.5, 0.1), abs=0.01)


def test_inference_with_three_octaves():
    """People grow from left to right; each octave has a heat and mask of its own."""
    net = Inference(network(replace(SMALL, octaves=3)))
    sigma = torch.full((1, 16, 16), 20.0)
    sigma[:, :, 5:10], sigma[:, :, 10:] = 73.0, 400.0  # input pixels
    where = channel_slices()
    answers = {16: 0.8, 8: 0.5, 4: 0.2}

    def forward_scale(image):
        rows, columns = (side // 8 for side in image.shape[2:])
        octave = 16 // rows
        fields = torch.full((1, CHANNELS, rows, columns), answers[rows])
        fields[:, where["log_sigma"]] = torch.log(
            torch.nn.functional.avg_pool2d(sigma, octave) / octave / SMALL.radius
        )
        return fields, fields[:, :1].repeat_interleave(4, 2).repeat_interleave(4, 3)

    net.forward_scale = forward_scale
    fields, seg = net(torch.zeros(1, 3, 128, 128))
    vis = fields[0, where["vis"]][0, 8]
    assert (vis[1], vis[7], vis[14]) == pytest.approx((0.8, 0.5, 0.2), abs=0.05)
    assert (seg[0, 0, 32, 4], seg[0, 0, 32, 60]) == pytest.approx((0.8, 0.2), abs=0.03)


def test_mask_and_poses_share_only_the_backbone():
    net = KdcNet(preset("lite"))
    fields, seg = net(torch.rand(2, 3, 64, 64) * 255)
    for logits, other in ((seg, "people pose owner fields"), (fields, "foreground inside seg")):
        net.zero_grad()
        logits.square().sum().backward(retain_graph=True)
        heads = {n: p.grad for n, p in net.heads.named_parameters()}
        theirs = [g for n, g in heads.items() if n.split(".")[0] in other.split()]
        assert all(g is None for g in theirs) and len(theirs) > 20
        assert all(p.grad is not None for p in net.backbone.parameters())


def test_every_parameter_has_a_gradient():
    net = network(SMALL).train()
    fields, seg = net(torch.rand(2, 3, 64, 64) * 255)
    (fields.square().mean() + seg.square().mean()).backward()
    idle = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


def test_network_refuses_wrong_shapes():
    with pytest.raises(ValueError, match="multiples of 32"):
        network(SMALL)(torch.zeros(1, 3, 64, 65))
    with pytest.raises(ValueError, match="seg_stride 2, 4 or 8"):
        NetworkConfig(seg_stride=3)
    with pytest.raises(ValueError, match="1 to 3 octaves, got 4"):
        NetworkConfig(octaves=4)
    with pytest.raises(ValueError, match="lite, lite-movenet, base, paper"):
        preset("huge")
