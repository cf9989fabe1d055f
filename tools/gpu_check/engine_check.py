"""Compare the TensorRT engine with ONNX Runtime and time the pipeline; part of the GPU check."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from kdc_core.cuda import gpu_unavailable_reason
from kdc_core.errors import InputError
from kdc_core.skeleton import FIELDS
from kdc_core.types import Frame
from tools.gpu_check.gpu_report import Report

PRECISIONS = ("fp32", "fp16")
#: largest accepted difference to ONNX Runtime, in the unit of the head
TOLERANCE = {"fp32": 0.01, "fp16": 0.5}


def check_engine(report: Report, model: Path, runs: int = 50) -> int | None:
    """Build, compare and time engines.

    Returns:
        The number of precisions that disagree; None if nothing could be run.
    """
    report.add("\n## TensorRT\n")
    if obstacle := gpu_unavailable_reason():
        report.add(f"* not run: {obstacle}")
        return None
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        report.add("* not run: onnxruntime, the reference, is not installed")
        return None
    report.add("Largest difference to ONNX Runtime on the CPU over three frames; times in ms.\n")
    report.add(f"| engine | {' | '.join(FIELDS)} | network | pipeline | pipeline without network |")
    report.add("|---" * (len(FIELDS) + 4) + "|")
    wrong = 0
    for precision in PRECISIONS:
        try:
            wrong += _check(report, model, precision, runs)
        except InputError as error:
            wrong += 1
            report.add(f"| {precision}: {error} |" + " |" * (len(FIELDS) + 3))
    return wrong


def _check(report: Report, model: Path, precision: str, runs: int) -> int:
    from kdc_core.engines import OnnxRuntimeEngine, TensorrtEngine
    from kdc_core.pipeline import open_pipeline

    engine, reference = TensorrtEngine(model, precision=precision), OnnxRuntimeEngine(model)
    gaps = dict.fromkeys(FIELDS, 0.0)
    for frame in frames():
        found, expected = engine(frame), reference(frame)
        for name in FIELDS:
            gap = np.abs(getattr(found, name) - getattr(expected, name)).max()
            gaps[name] = max(gaps[name], float(gap))
    pipeline, times, network = open_pipeline(engine), list[float](), list[float]()
    for _ in range(runs + runs // 10):  # the first runs warm up
        start = time.perf_counter()
        pipeline(frame)
        times.append((time.perf_counter() - start) * 1e3)
        network.append(pipeline.timings["network"])
    whole, net = (float(np.median(values[-runs:])) for values in (times, network))
    cells = [f"{gap:.1e}" for gap in gaps.values()] + [f"{net:.2f}", f"{whole:.2f}"]
    report.add(f"| {engine.name} | {' | '.join(cells)} | {whole - net:.2f} |")
    pipeline.close()
    return int(max(gaps.values()) > TOLERANCE[precision])


def frames() -> list[Frame]:
    """Return three images of coarse noise, 640 × 480, which are equal on every machine."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (3, 30, 40, 3), np.uint8)
    return [Frame(image.repeat(16, axis=0).repeat(16, axis=1)) for image in coarse]
