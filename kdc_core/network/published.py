"""Read weights in the format of TensorFlow.js, and convert them with a command."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdc_core.errors import InputError

_DTYPES = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "bool": "|u1"}


def read_tfjs(model: Path) -> dict[str, np.ndarray]:
    """Read all weights of a TensorFlow.js model in their stored type.

    Args:
        model: the ``.json`` file; its shards lie in the same folder.

    Returns:
        name → array.

    Raises:
        InputError: the file does not exist or is not a TensorFlow.js model, weights are quantised
            to integers, or the shards have the wrong size.
        OSError: a shard is missing.
    """
    model = Path(model)
    if not model.is_file():
        raise InputError(f"{model}: expected the .json of a TensorFlow.js model, it does not exist")
    try:
        groups = json.loads(model.read_text(encoding="utf-8"))["weightsManifest"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:  # ValueError: not JSON
        raise InputError(f"{model}: expected a TensorFlow.js model: {error}") from None
    weights = {}
    for group in groups:
        data = b"".join((model.parent / path).read_bytes() for path in group["paths"])
        start = 0
        for entry in group["weights"]:
            dtype = entry.get("quantization", entry)["dtype"]
            if dtype not in _DTYPES:
                raise InputError(f"{model}: expected floats, {entry['name']} is stored as {dtype}")
            count = math.prod(entry["shape"])
            end = start + count * np.dtype(_DTYPES[dtype]).itemsize
            if end > len(data):
                raise InputError(f"{model}: expected at least {end} bytes, got {len(data)}")
            values = np.frombuffer(data, _DTYPES[dtype], count, start)
            weights[entry["name"]] = values.reshape(entry["shape"])
            start += values.nbytes
        if start != len(data):
            raise InputError(f"{model}: expected {start} bytes of weights, got {len(data)}")
    return weights


def convert_file(convert: Callable[[dict[str, np.ndarray]], dict[str, Tensor]]) -> None:
    """Run the command line of a converter, and write its ``state_dict`` with float16 kernels.

    Args:
        convert: converts weights by name to a ``state_dict``.
    """
    parser = argparse.ArgumentParser(description=convert.__doc__)
    parser.add_argument(
        "model", type=Path, help="the model's .json file; its shards lie in the same folder"
    )
    parser.add_argument("out", type=Path, help="the .pt file to write")
    args = parser.parse_args()
    state = convert(read_tfjs(args.model))
    torch.save({k: v.half() if v.ndim == 4 else v for k, v in state.items()}, args.out)
