"""Compute the gradients of depthwise convolutions on CPUs faster than oneDNN does.

oneDNN computes the backward pass of a depthwise convolution in bfloat16 many times slower than its
forward pass. Here

* the gradient of the weights is k x k sums of shifted products, fused by ``torch.compile``, for
  kernels of 5 x 5 and for stride 2; for other 3 x 3 kernels oneDNN is faster,
* the gradient of the input at stride 1 is a depthwise convolution with the mirrored kernel,
* the gradient of the input at stride 2 is computed for the four parities of the pixel separately.

``use_fast_depthwise`` changes only how a network is trained; its weights, its forward pass and its
export stay as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

log = logging.getLogger(__name__)


def weight_gradient(
    padded: torch.Tensor, gradient: torch.Tensor, kernel: int, stride: int
) -> torch.Tensor:
    """Return the gradient of the weights (C, k, k) in float32.

    Args:
        padded: input with its padding (B, H, W, C), channels last.
        gradient: of the output (B, h, w, C), channels last.
        kernel: k.
        stride: of the convolution.
    """
    h, w = gradient.shape[1:3]
    grad = gradient.float()
    rows = []
    for dy in range(kernel):
        for dx in range(kernel):
            shifted = padded[
                :, dy : dy + stride * (h - 1) + 1 : stride, dx : dx + stride * (w - 1) + 1 : stride
            ]
            rows.append((shifted.float() * grad).sum((0, 1, 2)))
    return torch.stack(rows, 1).unflatten(1, (kernel, kernel))


def input_gradient_stride_2(
    gradient: torch.Tensor, weight: torch.Tensor, height: int, width: int
) -> torch.Tensor:
    """Return the gradient of the padded input (B, height, width, C) of a 3x3 stride-2 convolution.

    Args:
        gradient: of the output (B, h, w, C), channels last.
        weight: (C, 3, 3).
        height: of the padded input; 2 h or 2 h + 1.
        width: of the padded input; 2 w or 2 w + 1.
    """
    b, h, w, c = gradient.shape
    g = F.pad(gradient, (0, 0, 1, 1, 1, 1))  # one zero around, so that g[y - 1] exists
    here, left = g[:, 1:, 1:], g[:, 1:, :-1]
    above, corner = g[:, :-1, 1:], g[:, :-1, :-1]
    k = weight.permute(1, 2, 0)
    # an even pixel 2 y is read by tap 0 of output y and by tap 2 of output y - 1
    even_even = here * k[0, 0] + left * k[0, 2] + above * k[2, 0] + corner * k[2, 2]
    even_odd = here * k[0, 1] + above * k[2, 1]
    odd_even = here * k[1, 0] + left * k[1, 2]
    odd_odd = here * k[1, 1]
    top = torch.stack([even_even, even_odd], 3)  # (B, h + 1, w + 1, 2, C)
    bottom = torch.stack([odd_even, odd_odd], 3)
    both = torch.stack([top, bottom], 2)  # (B, h + 1, 2, w + 1, 2, C)
    return both.reshape(b, 2 * (h + 1), 2 * (w + 1), c)[:, :height, :width]


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution whose backward pass is computed as described above."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        stride: int,
        padding: int,
        fast: Kernels,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.fast = stride, padding, fast
        return F.conv2d(x, weight, bias, stride, padding, 1, x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        stride, padding, fast = ctx.stride, ctx.padding, ctx.fast
        kernel = weight.shape[2]
        grad = gradient.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            if stride == 1:
                mirrored = weight.flip(2, 3)
                back = kernel - 1 - padding
                grad_x = F.conv2d(gradient, mirrored, None, 1, back, 1, x.shape[1])
            else:
                height, width = (side + 2 * padding for side in x.shape[2:])
                whole = fast.input(grad, weight[:, 0], height, width)
                inside = whole[:, padding : height - padding, padding : width - padding]
                grad_x = inside.permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            if kernel == 3 and stride == 1:
                grad_weight = _onednn_weight_gradient(gradient, x, weight, padding)
            else:
                padded = F.pad(x, (padding,) * 4) if padding else x
                padded = padded.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
                found = fast.weight(padded, grad, kernel, stride)
                grad_weight = found[:, None].to(weight.dtype)
        grad_bias = grad.float().sum((0, 1, 2)) if ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias, None, None, None


def _onednn_weight_gradient(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, padding: int
) -> torch.Tensor:
    found = torch.ops.aten.convolution_backward(
        gradient,
        x,
        weight,
        None,
        [1, 1],
        [padding] * 2,
        [1, 1],
        False,
        [0, 0],
        x.shape[1],
        [False, True, False],
    )
    grad_weight: torch.Tensor = found[1]
    return grad_weight


class Kernels:
    """The two gradient functions, compiled where a C++ compiler is there."""

    def __init__(self, compiled: bool = True) -> None:
        self.weight: Callable[..., torch.Tensor] = weight_gradient
        self.input: Callable[..., torch.Tensor] = input_gradient_stride_2
        if compiled:
            torch._dynamo.config.recompile_limit = 64  # one version for each shape of a network
            self.weight = torch.compile(weight_gradient, dynamic=False)
            self.input = torch.compile(input_gradient_stride_2, dynamic=False)


def can_compile() -> bool:
    """Return True if ``torch.compile`` works here: it needs a C++ compiler."""
    try:
        one = torch.ones(4)
        return bool(torch.compile(lambda x: (x * 2).sum())(one) == 8)
    except Exception as error:  # whatever the compiler's driver raises
        log.info("torch.compile does not work here: %s", str(error).split("\n")[0])
        return False


class FastDepthwise:
    """Replaces ``_conv_forward`` of a depthwise ``nn.Conv2d``."""

    def __init__(self, conv: nn.Conv2d, fast: Kernels) -> None:
        self._fast = fast
        self._stride, self._padding = int(conv.stride[0]), int(conv.padding[0])

    def __call__(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the convolution of ``x`` (B, C, H, W) with ``weight`` (C, 1, k, k)."""
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight = x.to(dtype), weight.to(dtype)
            bias = None if bias is None else bias.to(dtype)
        out: torch.Tensor = _Depthwise.apply(
            x, weight, bias, self._stride, self._padding, self._fast
        )
        return out


def is_slow(conv: nn.Module) -> bool:
    """Return True for a convolution whose gradients are faster here than in oneDNN."""
    return (
        isinstance(conv, nn.Conv2d)
        and conv.groups == conv.in_channels == conv.out_channels > 1
        and conv.kernel_size[0] == conv.kernel_size[1]
        and (conv.stride == (1, 1) or (conv.stride == (2, 2) and conv.kernel_size == (3, 3)))
        and conv.dilation == (1, 1)
        and not isinstance(conv.padding, str)
        and conv.padding[0] == conv.padding[1] < conv.kernel_size[0]
    )


def use_fast_depthwise(net: nn.Module) -> int:
    """Let the depthwise convolutions of ``net`` train with the fast gradients.

    The modules of this instance compute differently; their names and weights stay.

    Returns:
        Number of convolutions; 0 if nothing can be compiled here.
    """
    if not can_compile():
        return 0
    fast, count = Kernels(), 0
    for module in net.modules():
        if is_slow(module):
            module._conv_forward = FastDepthwise(module, fast)  # type: ignore[method-assign]
            count += 1
    return count
