"""Weights as TensorFlow.js publishes them, and a command that converts them."""

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
    """All weights by name of a ``.json`` and its shards, in the type they are stored in.

    Raises:
        ValueError: no such file, a type that is quantised to integers, or shards of another size.
    """
    model = Path(model)
    if not model.is_file():
        raise InputError(f"{model}: expected the .json of a TensorFlow.js model, it does not exist")
    weights = {}
    for group in json.loads(model.read_text())["weightsManifest"]:
        data = b"".join((model.parent / path).read_bytes() for path in group["paths"])
        start = 0
        for entry in group["weights"]:
            dtype = entry.get("quantization", entry)["dtype"]
            if dtype not in _DTYPES:
                raise InputError(f"{model}: expected floats, {entry['name']} is stored as {dtype}")
            count = math.prod(entry["shape"])
            values = np.frombuffer(data, _DTYPES[dtype], count, start)
            weights[entry["name"]] = values.reshape(entry["shape"])
            start += values.nbytes
        if start != len(data):
            raise InputError(f"{model}: expected {start} bytes of weights, got {len(data)}")
    return weights


def convert_file(convert: Callable[[dict[str, np.ndarray]], dict[str, Tensor]]) -> None:
    """Command line of a converter: a model's weights → ``state_dict``, kernels as float16."""
    parser = argparse.ArgumentParser(description=convert.__doc__)
    parser.add_argument("model", type=Path, help="the model's .json, with its shards beside it")
    parser.add_argument("out", type=Path, help="the .pt file to write")
    args = parser.parse_args()
    state = convert(read_tfjs(args.model))
    torch.save({k: v.half() if v.ndim == 4 else v for k, v in state.items()}, args.out)
