"""Gradients of depthwise convolutions against autograd."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import nn

from kdc_core.network.efficientnet import SameConv
from kdc_lab.training import depthwise
from kdc_lab.training.depthwise import FastDepthwise, Kernels, is_slow, use_fast_depthwise

CASES = [  # channels, kernel, stride, padding, height, width
    (3, 5, 1, 2, 9, 7),
    (3, 3, 1, 1, 8, 6),
    (4, 3, 2, 0, 9, 7),
    (4, 3, 2, 0, 8, 6),
    (4, 3, 2, 1, 8, 10),
    (2, 3, 1, 0, 6, 5),
]


def gradients(run, conv: nn.Conv2d, x: torch.Tensor) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()
    conv.zero_grad()
    out = run(x)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    (out * weights).sum().backward()
    return [x.grad, *(parameter.grad.clone() for parameter in conv.parameters())]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("channels", "kernel", "stride", "padding", "height", "width"), CASES)
def test_fast_depthwise_gradients_equal_autograd(
    channels, kernel, stride, padding, height, width, bias
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=bias)
    x = torch.randn(2, channels, height, width).contiguous(memory_format=torch.channels_last)
    assert is_slow(conv)
    fast = partial(FastDepthwise(conv, Kernels(compiled=False)), weight=conv.weight, bias=conv.bias)
    assert torch.equal(fast(x), conv(x))
    for ours, theirs in zip(gradients(fast, conv, x), gradients(conv, conv, x), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5), (ours - theirs).abs().max()


def test_fast_depthwise_bfloat16_gradients_are_near_float32() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, 5, 1, 2, groups=8, bias=False)
    x = torch.randn(2, 8, 12, 12)
    fast = partial(FastDepthwise(conv, Kernels(compiled=False)), weight=conv.weight, bias=conv.bias)

    def in_bfloat16(values: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            out = fast(values)
        assert out.dtype == torch.bfloat16
        return out.float()

    for ours, theirs in zip(gradients(in_bfloat16, conv, x), gradients(conv, conv, x), strict=True):
        assert (ours - theirs).norm() / theirs.norm() < 0.01


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 4, 3, 1, 1, bias=False),  # not depthwise
        nn.Conv2d(4, 4, 5, 2, 2, groups=4, bias=False),  # 5 x 5 at stride 2
        nn.Conv2d(4, 4, 3, 1, 2, dilation=2, groups=4, bias=False),
        nn.Conv2d(4, 8, 3, 1, 1, groups=4, bias=False),
        nn.ReLU(),
    ],
)
def test_is_slow_is_false_for_other_layers(conv: nn.Module) -> None:
    assert not is_slow(conv)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(4, 4, 5, 1, 2, groups=4, bias=False),
        SameConv(4, 4, 3, 2, groups=4, bias=True),  # pads by itself
    )


def test_use_fast_depthwise_keeps_names_weights_and_outputs(monkeypatch) -> None:
    monkeypatch.setattr(depthwise, "can_compile", lambda: True)
    monkeypatch.setattr(depthwise.torch, "compile", lambda function, **_: function)
    net = network()
    before, state = copy.deepcopy(net), net.state_dict()
    x = torch.randn(2, 3, 8, 8)
    assert use_fast_depthwise(net) == 2
    assert list(net.state_dict()) == list(state)
    assert torch.equal(net(x), before(x))
    for one in (net, before):
        one(x).square().sum().backward()
    for ours, theirs in zip(net.parameters(), before.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-5)


def test_use_fast_depthwise_without_compiler_changes_nothing(monkeypatch) -> None:
    def broken(*_, **__):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(depthwise.torch, "compile", broken)
    net = network()
    assert use_fast_depthwise(net) == 0
    assert "_conv_forward" not in vars(net[1])
