"""Networks that look trained."""

from __future__ import annotations

from torch import nn


def as_if_trained(net: nn.Module) -> None:
    """Give each batch norm numbers of its own, so that a test notices a missing one."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
