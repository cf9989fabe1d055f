"""Weights of TensorFlow.js models."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network needs torch")

from kdc_core.errors import InputError  # noqa: E402
from kdc_core.network.published import convert_file, read_tfjs  # noqa: E402


def test_read_tfjs_joins_and_checks_shards(tmp_path):
    values = np.arange(10, dtype="<f4")
    data = values.tobytes() + np.array([0.5, -2], "<f2").tobytes()
    (tmp_path / "a.bin").write_bytes(data[:18])
    (tmp_path / "b.bin").write_bytes(data[18:])
    half = {"dtype": "float16", "original_dtype": "float32"}
    entries = [
        {"name": "x", "shape": [2, 3], "dtype": "float32"},
        {"name": "y", "shape": [4], "dtype": "float32"},
        {"name": "z", "shape": [2], "dtype": "float32", "quantization": half},
    ]
    model = tmp_path / "model.json"
    manifest = {"weightsManifest": [{"paths": ["a.bin", "b.bin"], "weights": entries}]}
    model.write_text(json.dumps(manifest))
    weights = read_tfjs(model)
    assert weights["x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert weights["y"].tolist() == [6, 7, 8, 9]
    assert weights["z"].tolist() == [0.5, -2]
    (tmp_path / "b.bin").write_bytes(data[18:] + b"more")
    with pytest.raises(ValueError, match="expected 44 bytes of weights, got 48"):
        read_tfjs(model)
    (tmp_path / "b.bin").write_bytes(data[18:-2])
    with pytest.raises(InputError, match="expected at least 44 bytes, got 42"):
        read_tfjs(model)
    entries[1]["quantization"] = {"dtype": "uint8", "min": 0, "scale": 1}
    model.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="y is stored as uint8"):
        read_tfjs(model)
    with pytest.raises(ValueError, match="does not exist"):
        read_tfjs(tmp_path / "none.json")


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", "[" * 100_000])
def test_read_tfjs_refuses_other_files(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(InputError, match=r"expected a TensorFlow\.js model"):
        read_tfjs(tmp_path / "model.json")


def test_convert_file_stores_kernels_as_float16(tmp_path, monkeypatch):
    """Kernels are stored as float16, biases as float32."""
    (tmp_path / "a.bin").write_bytes(np.arange(6, dtype="<f4").tobytes())
    entries = [
        {"name": "kernel", "shape": [1, 1, 2, 2], "dtype": "float32"},
        {"name": "bias", "shape": [2], "dtype": "float32"},
    ]
    manifest = {"weightsManifest": [{"paths": ["a.bin"], "weights": entries}]}
    (tmp_path / "model.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "model.json"), str(tmp_path / "out.pt")])
    convert_file(lambda weights: {k: torch.from_numpy(v.copy()) for k, v in weights.items()})
    state = torch.load(tmp_path / "out.pt", weights_only=True)
    assert (state["kernel"].dtype, state["bias"].dtype) == (torch.float16, torch.float32)
    assert (state["kernel"].flatten().tolist(), state["bias"].tolist()) == ([0, 1, 2, 3], [4, 5])
