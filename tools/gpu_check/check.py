"""``python -m tools.gpu_check.check``: check and time the CUDA kernels on this machine's GPU.

The check compares every kernel with its NumPy reference on synthetic crowds, times every stage
against the lower bound from its bytes and operations, and writes a report. It needs PyCUDA and a
compiler (nvcc or NVRTC).
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kdc_core.config import AssignConfig, CentroidConfig, CentroidMode, GroupConfig, HoughConfig
from kdc_core.cuda import Kernels, Layout, PycudaDriver
from kdc_core.decode import assign, find_peaks, refine_unmatched, select, smooth_votes, vote
from kdc_core.errors import InputError
from kdc_core.letterbox import PAD_VALUE
from kdc_core.skeleton import A
from kdc_core.types import Fields, Poses
from tools.gpu_check.crowd_fields import crowd, noise_fields
from tools.gpu_check.engine_check import check_engine
from tools.gpu_check.gpu_report import Report
from tools.gpu_check.stage_times import CROWDS, time_all

HOUGH = HoughConfig()


def main(argv: list[str] | None = None) -> int:
    """Run the check.

    Returns:
        0 if all comparisons agree, 1 if some differ, 2 if there is no GPU, or no TensorRT although
        a model is given.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.gpu_check.check", description=__doc__)
    parser.add_argument("--out", type=Path, help="Markdown file for the report")
    parser.add_argument("--quick", action="store_true", help="one small comparison, no timing")
    parser.add_argument("--sanitize", action="store_true", help="also run compute-sanitizer")
    parser.add_argument(
        "--model", type=Path, help="also compare TensorRT engines of this ONNX file"
    )
    options = parser.parse_args(argv)
    try:
        driver = PycudaDriver()
    except InputError as error:
        print(f"gpu-check: {error}", file=sys.stderr)
        return 2
    report = Report(options.out)
    try:
        report.add("# GPU results\n", f"* GPU: {driver.name}", f"* Python {sys.version.split()[0]}")
        report.add(f"* NumPy {np.__version__}, {platform.machine()}")
        wrong = compare(driver, report, quick=options.quick)
        if not options.quick:
            time_all(driver, report)
    finally:
        driver.close()
    if options.sanitize:
        wrong += sanitize(report)
    engines = check_engine(report, options.model) if options.model else 0
    wrong += engines or 0
    report.add(f"\n{f'{wrong} comparisons FAILED.' if wrong else 'All comparisons agree.'}")
    if engines is None:
        report.add("TensorRT was NOT checked; the reason is above.")
    return 1 if wrong else 2 if engines is None else 0


def compare(driver: Any, report: Report, quick: bool) -> int:
    """Compare the kernels with their NumPy reference; return the number of differences."""
    report.add("\n## Kernels against their NumPy reference\n")
    report.add(
        "| input | votes | peaks | poses, px | refined | σ, confidence | labels | mean φ | image |"
    )
    report.add("|---|---|---|---|---|---|---|---|---|")
    wrong = 0
    for name, fields, poses in _inputs(quick):
        row = _compare_one(driver, fields, poses)
        wrong += sum(not ok for ok, _ in row)
        report.add(f"| {name} | " + " | ".join(text for _, text in row) + " |")
    report.add(
        "\nA cell shows how many values differ, of how many. Poses: largest distance between "
        "peaks, edge ends and anchors. Refined: coordinates of the unmatched anchors after "
        "refinement. σ and confidence: largest difference, relative for values above 1. Labels and "
        "mean φ cover the five centroid modes, without and with the step of eq. 4. Image: the "
        "network's input for a frame that needs no resize."
    )
    return wrong


def _inputs(quick: bool) -> Iterator[tuple[str, Fields, Poses]]:
    rng = np.random.default_rng(2022)
    if quick:
        yield "3 people, 200 × 150", *crowd(3, rng, (200, 150), 160)
        return
    for people in CROWDS:
        yield f"{people} people, 640 × 480", *crowd(people, rng)
    yield "20 people, 1280 × 720 at 640", *crowd(20, rng, (1280, 720))
    yield "20 people, stride 4, R = 32", *crowd(20, rng, stride=4, seg_stride=4, radius=32.0)
    yield "noise, 5 people, 640 × 480", *noise_fields(5, rng, (640, 480), 640)
    yield "noise, 64 people, 97 × 61", *noise_fields(64, rng, (97, 61), 96)


def _compare_one(driver: Any, fields: Fields, poses: Poses) -> list[tuple[bool, str]]:
    kernels = Kernels(driver, Layout.of(fields, HOUGH))
    kernels.load(fields)
    kernels.vote()
    votes = vote(fields, HOUGH)
    row = [_differing(driver.download(kernels.votes), votes)]
    kernels.find_peaks()
    found, expected = (
        kernels.download_peaks(),
        find_peaks(fields, votes, smooth_votes(votes), HOUGH),
    )
    row.append(_differing(found.score, expected.score))
    gap = max(
        float(np.abs(getattr(found, name) - getattr(expected, name)).max())
        for name in ("xy", "reach", "anchors")
    )
    row.append((gap <= 1e-4, f"{gap:.1e}"))
    row.append(_compare_refined(kernels, fields, poses))
    row.append(_compare_readings(kernels, fields, poses))
    labels, means = [], []
    for mode in CentroidMode:
        centroids, ids = select(fields, poses, CentroidConfig(mode)), np.arange(1, len(poses) + 1)
        for steps in (0, 1):
            config = AssignConfig(mean_shift_steps=steps)
            ours = kernels.assign(centroids, ids, config, mode)
            theirs = assign(fields, centroids, ids, config, mode)
            labels.append((ours.labels, theirs.labels))
            means.append((ours.phi, theirs.phi))
    row += [_differing(*map(np.stack, zip(*pairs, strict=True))) for pairs in (labels, means)]
    row.append(_compare_image(driver, kernels))
    kernels.close()
    return row


def _compare_readings(kernels: Kernels, fields: Fields, poses: Poses) -> tuple[bool, str]:
    config = CentroidConfig()
    found, expected = kernels.measure(poses, config), select(fields, poses, config)
    gap = max(
        float((np.abs(a - b) / np.maximum(1, np.abs(b))).max())
        for a, b in ((getattr(found, n), getattr(expected, n)) for n in ("sigma", "confidence"))
    )
    return gap <= 1e-4, f"{gap:.1e}"


def _compare_refined(kernels: Kernels, fields: Fields, poses: Poses) -> tuple[bool, str]:
    """Compare the refinement as if every second anchor were unmatched and 5 pixels off."""
    matched = poses.matched & (np.arange(A) % 2 > 0)
    poses = replace(poses, matched=matched, xy=np.where(matched[..., None], poses.xy, poses.xy + 5))
    config = GroupConfig()
    return _differing(
        kernels.refine_unmatched(poses, config).xy, refine_unmatched(fields, poses, config).xy
    )


def _compare_image(driver: Any, kernels: Kernels) -> tuple[bool, str]:
    letterbox = kernels.layout.letterbox
    if letterbox.frame_size != letterbox.inner_size:
        return True, "resized"
    frame = np.random.default_rng(1).integers(0, 256, kernels.frame.shape, np.uint8)
    kernels.load_frame(frame)
    kernels.preprocess()
    expected = np.full(kernels.image.shape, PAD_VALUE, np.float32)
    height, width = frame.shape[:2]
    expected[0, :, :height, :width] = frame[:, :, ::-1].transpose(2, 0, 1)
    return _differing(driver.download(kernels.image), expected)


def _differing(a: np.ndarray, b: np.ndarray) -> tuple[bool, str]:
    count = int((a != b).sum())
    return count == 0, f"{count} of {a.size}"


def sanitize(report: Report) -> int:
    """Run compute-sanitizer over the quick comparison; return the number of tools with findings."""
    report.add("\n## compute-sanitizer\n")
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not Path(tool).exists():
        report.add("* not run: compute-sanitizer is not installed")
        return 0
    wrong = 0
    for kind in ("memcheck", "racecheck", "synccheck"):
        command = [tool, "--tool", kind, "--error-exitcode", "9", sys.executable, "-m"]
        command += [__spec__.name, "--quick"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            report.add(f"* {kind}: did not finish within 120 s")
            continue
        last = [line for line in done.stdout.splitlines() if line.startswith("=========")][-1:]
        wrong += done.returncode != 0
        report.add(f"* {kind}: exit code {done.returncode}; {' '.join(last).strip('= ')}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
