"""Weights of TensorFlow.js and ONNX models."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="the network needs torch")

from kdc_core.network.published import read_onnx, read_tfjs


def test_shards_are_read_in_order_and_checked(tmp_path):
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
    entries[1]["quantization"] = {"dtype": "uint8", "min": 0, "scale": 1}
    model.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="y is stored as uint8"):
        read_tfjs(model)
    with pytest.raises(ValueError, match="does not exist"):
        read_tfjs(tmp_path / "none.json")
    with pytest.raises(ValueError, match="expected an ONNX file, it does not exist"):
        read_onnx(tmp_path / "none.onnx")
