"""``python -m kdc_core.cuda.check``: the kernels on this machine's GPU, checked and timed.

Compares every kernel with its NumPy twin on made-up crowds, times every stage against the floor of
its bytes and operations, and writes a report. Needs NumPy, a compiler (nvcc or NVRTC) and PyCUDA,
or CuPy in its place; what cannot be run is named in the report.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

if find_spec("cv2") is None:  # a bare GPU machine: of OpenCV the twins need one function

    def _dilate(plane: np.ndarray, window: np.ndarray) -> np.ndarray:
        reach = window.shape[0] // 2
        padded = np.pad(plane, reach, constant_values=-np.inf)
        shifts = np.lib.stride_tricks.sliding_window_view(padded, window.shape)
        return np.asarray(shifts.max(axis=(2, 3)))

    sys.modules["cv2"] = types.SimpleNamespace(dilate=_dilate)  # type: ignore[assignment]

from kdc_core.config import CENTROID_MODES, AssignConfig, CentroidConfig, DecodeConfig, HoughConfig
from kdc_core.cuda import floors
from kdc_core.cuda.kernels import Kernels, Layout
from kdc_core.cuda.scene import crowd, static
from kdc_core.decode.assign import assign
from kdc_core.decode.centroid import select
from kdc_core.decode.group import group
from kdc_core.decode.hough import find_peaks, vote
from kdc_core.types import Fields, Poses

CROWDS = (1, 5, 20, 50)
HOUGH = HoughConfig()
#: keeps the GPU busy while launches are queued, so that they then run back to back
_DELAY = """extern "C" __global__ void __launch_bounds__(32) delay(int kilocycles) {
    long long start = clock64();
    while (clock64() - start < 1000LL * kilocycles) {}
}
extern "C" __global__ void __launch_bounds__(32) nothing(int unused) {}
extern "C" __global__ void __launch_bounds__(256) copy(const float4* from, float4* to, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) to[i] = from[i];
}
"""


def main(argv: list[str] | None = None) -> int:
    """Run the check; 0 if everything agreed, 1 if not, 2 if there is no GPU to check."""
    parser = argparse.ArgumentParser(prog="python -m kdc_core.cuda.check", description=__doc__)
    parser.add_argument("--out", type=Path, help="write the report (Markdown) here")
    parser.add_argument("--library", choices=("pycuda", "cupy"), help="default: the first of both")
    parser.add_argument("--quick", action="store_true", help="one small comparison, no timing")
    parser.add_argument("--sanitize", action="store_true", help="also run compute-sanitizer")
    options = parser.parse_args(argv)
    driver, refused = open_driver(options.library)
    if driver is None:
        print("\n".join(["no GPU check:", *refused]), file=sys.stderr)
        return 2
    report = Report(options.out)
    try:
        report.add("# GPU results\n", f"* GPU: {driver.name}", f"* Python {sys.version.split()[0]}")
        report.add(f"* NumPy {np.__version__}, {platform.machine()}", *refused)
        wrong = compare(driver, report, quick=options.quick)
        if not options.quick:
            time_all(driver, report)
    finally:
        driver.close()
    if options.sanitize:
        wrong += sanitize(report, options.library)
    if not options.quick:
        report.add("\n## Not run here\n", *not_run())
    report.add(f"\n{'Everything agreed.' if not wrong else f'{wrong} comparisons FAILED.'}")
    return int(wrong > 0)


class Report:
    """Lines that are printed and, as they come, written: what was measured survives a crash."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.lines = path, list[str]()

    def add(self, *lines: str) -> None:
        """Print and keep lines."""
        self.lines += lines
        print(*lines, sep="\n", flush=True)
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")


def open_driver(wanted: str | None) -> tuple[Any, list[str]]:
    """The first GPU library that works, and a line about each that does not."""
    refused: list[str] = []
    for name in ("pycuda", "cupy"):
        if wanted not in (None, name):
            continue
        try:
            if name == "pycuda":
                from kdc_core.cuda.device import PycudaDriver

                return PycudaDriver(), refused
            from kdc_core.cuda.cupy_device import CupyDriver

            return CupyDriver(), refused
        except ValueError as error:
            refused.append(f"* not with {name}: {error}")
    return None, refused


def compare(driver: Any, report: Report, quick: bool) -> int:
    """Kernels against twins; number of comparisons that failed."""
    report.add("\n## Kernels against their NumPy twins\n")
    report.add("| input | votes | peaks | poses, px | labels | mean φ | image |")
    report.add("|---|---|---|---|---|---|---|")
    wrong = 0
    for name, fields, poses in _inputs(quick):
        row = _compare_one(driver, fields, poses)
        wrong += sum(not ok for ok, _ in row)
        report.add(f"| {name} | " + " | ".join(text for _, text in row) + " |")
    report.add(
        "\nCells that differ, of all; poses: largest distance between peaks, edge ends and "
        "anchors; labels over the five centroid modes, without and with the step of eq. 4. "
        "Image: the network's input of a frame that needs no resize."
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
    yield "noise, 5 people, 640 × 480", *static(5, rng, (640, 480), 640)
    yield "noise, 64 people, 97 × 61", *static(64, rng, (97, 61), 96)


def _compare_one(driver: Any, fields: Fields, poses: Poses) -> list[tuple[bool, str]]:
    kernels = Kernels(driver, Layout.of(fields, HOUGH))
    kernels.load(fields)
    kernels.vote()
    votes = vote(fields, HOUGH)
    row = [_differing(driver.download(kernels.votes), votes)]
    kernels.find_peaks()
    found, expected = kernels.download_peaks(), find_peaks(fields, votes, HOUGH)
    row.append(_differing(found.score, expected.score))
    gap = max(
        float(np.abs(getattr(found, name) - getattr(expected, name)).max())
        for name in ("xy", "reach", "anchors")
    )
    row.append((gap <= 1e-4, f"{gap:.1e}"))
    labels, means = [], []
    for mode in CENTROID_MODES:
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


def _compare_image(driver: Any, kernels: Kernels) -> tuple[bool, str]:
    letterbox = kernels.layout.letterbox
    if letterbox.frame_size != letterbox.inner_size:
        return True, "resized"
    frame = np.random.default_rng(1).integers(0, 256, kernels.frame.shape, np.uint8)
    kernels.load_frame(frame)
    kernels.preprocess()
    expected = np.full(kernels.image.shape, 114, np.float32)
    height, width = frame.shape[:2]
    expected[0, :, :height, :width] = frame[:, :, ::-1].transpose(2, 0, 1)
    return _differing(driver.download(kernels.image), expected)


def _differing(a: np.ndarray, b: np.ndarray) -> tuple[bool, str]:
    count = int((a != b).sum())
    return count == 0, f"{count} of {a.size}"


def time_all(driver: Any, report: Report) -> None:
    """Every stage on the GPU, and the decoder as a whole."""
    driver.extend(_DELAY)
    rate = _copy_rate(driver)
    empty = _microseconds(driver, lambda: driver.launch("nothing", (1,), (32,), 0))
    report.add("\n## Time per stage, 640 × 480, µs\n")
    report.add(
        f"Copy kernel in device memory: {rate / 1e12:.2f} TB/s read + written. One empty kernel in "
        f"a full queue: {empty:.1f} µs: a stage cannot be faster than that times its launches. "
        "Median of 5 × 100 runs between CUDA events, queued while the GPU was kept busy; the "
        "inputs are in the L2 cache, as they are right after the network. Floor: the larger of "
        "bytes at the copy rate and operations at the card's float32 rate of "
        f"{driver.operations_per_second / 1e12:.0f} T/s (no fused operations, by design).\n"
    )
    names = [name for name, _ in _stages(None, AssignConfig(), 1)]
    report.add("| people | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|")
    whole = []
    for people in CROWDS:
        fields, poses = crowd(people, np.random.default_rng(people))
        kernels = _prepared(driver, fields, poses)
        cells = []
        work = floors.work(kernels, fields, select(fields, poses, CentroidConfig()))
        for name, stage in _stages(kernels, AssignConfig(), people):
            floor = work[name].microseconds(rate, driver.operations_per_second)
            cells.append(f"{_microseconds(driver, stage):.1f} ({floor:.2f})")
        report.add(f"| {people} | " + " | ".join(cells) + " |")
        whole.append(f"| {people} | " + " | ".join(_whole(driver, kernels, fields)) + " |")
        kernels.close()
    report.add(
        "\nIn brackets the floor. Each stage includes the clearing of its outputs.",
        "\n## The decoder as a whole, 640 × 480, ms\n",
        "Wall clock, median of 20, fields in device memory, label image and peaks on the host "
        "after it; grouping and selection run on the CPU in both columns.\n",
        "| people | GPU decoder | of it peaks | of it assign | NumPy decoder | fields to host |",
        "|---|---|---|---|---|---|", *whole,
    )  # fmt: skip


def _stages(kernels: Any, config: AssignConfig, people: int) -> list[tuple[str, Callable]]:
    return [
        ("preprocess", lambda: kernels.preprocess()),
        ("vote", lambda: kernels.vote()),
        ("find_maxima", lambda: kernels.find_maxima()),
        ("pick_peaks", lambda: kernels.pick_peaks()),
        ("read_peaks", lambda: kernels.read_peaks()),
        ("pool", lambda: kernels.pool()),
        ("membership", lambda: kernels.membership(people, config, "weighted")),
        ("mean_shift", lambda: kernels.mean_shift(people)),
        ("paint", lambda: kernels.paint(config)),
    ]


def _prepared(driver: Any, fields: Fields, poses: Poses) -> Kernels:
    kernels = Kernels(driver, Layout.of(fields, HOUGH))
    kernels.load(fields)
    kernels.load_frame(np.random.default_rng(0).integers(0, 256, kernels.frame.shape, np.uint8))
    centroids = select(fields, poses, CentroidConfig())
    kernels.load_people(centroids, np.arange(1, len(poses) + 1))
    kernels.vote()
    return kernels


def _microseconds(driver: Any, work: Callable, runs: int = 100) -> float:
    """GPU time of one run."""
    work()
    driver.synchronize()
    times = []
    for _ in range(5):
        driver.launch("delay", (1,), (32,), 30_000)  # 15 ms at 2 GHz
        start = driver.mark()
        for _ in range(runs):
            work()
        times.append(driver.milliseconds(start, driver.mark()) / runs * 1e3)
    return float(np.median(times))


def _copy_rate(driver: Any) -> float:
    """Bytes per second, read and written, of a copy kernel over 128 MiB."""
    n = 8 << 20
    a, b = driver.allocate((n, 4), np.float32), driver.allocate((n, 4), np.float32)
    work = lambda: driver.launch("copy", (n // 256,), (256,), a, b, n)  # noqa: E731
    moved: int = 2 * a.size
    return moved / (_microseconds(driver, work, runs=20) * 1e-6)


def _whole(driver: Any, kernels: Kernels, fields: Fields) -> list[str]:
    config = DecodeConfig()
    laps: dict[str, list[float]] = {}

    def lap(name: str, start: float) -> float:
        laps.setdefault(name, []).append((time.perf_counter() - start) * 1e3)
        return time.perf_counter()

    for _ in range(20):
        begin = at = time.perf_counter()
        kernels.vote()
        kernels.find_peaks()
        peaks, votes = kernels.download_peaks(), driver.download(kernels.votes)
        at = lap("peaks", at)
        poses = group(peaks, votes, fields.radius, config.hough.vote_stride, config.group)
        centroids = select(fields, poses, config.centroid)
        ids = np.arange(1, len(poses) + 1)
        at = time.perf_counter()
        kernels.assign(centroids, ids, config.assign, config.centroid.mode)
        lap("assign", at)
        lap("all", begin)
        begin = time.perf_counter()
        votes = vote(fields, config.hough)
        poses = group(
            find_peaks(fields, votes, config.hough), votes, fields.radius,
            config.hough.vote_stride, config.group,
        )  # fmt: skip
        centroids = select(fields, poses, config.centroid)
        assign(fields, centroids, ids, config.assign, config.centroid.mode)
        begin = lap("numpy", begin)
        driver.download(kernels.fields), driver.download(kernels.seg)
        lap("copy", begin)
    return [f"{np.median(laps[name]):.2f}" for name in ("all", "peaks", "assign", "numpy", "copy")]


def sanitize(report: Report, library: str | None) -> int:
    """compute-sanitizer's tools over the small comparison; number of those that found something."""
    report.add("\n## compute-sanitizer\n")
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not Path(tool).exists():
        report.add("* not run: compute-sanitizer is not installed")
        return 0
    wrong = 0
    for kind in ("memcheck", "racecheck", "synccheck"):
        command = [tool, "--tool", kind, "--error-exitcode", "9", sys.executable, "-m"]
        command += [__spec__.name, "--quick", *(["--library", library] if library else [])]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            report.add(f"* {kind}: not finished within 120 s")
            continue
        last = [line for line in done.stdout.splitlines() if line.startswith("=========")][-1:]
        wrong += done.returncode != 0
        report.add(f"* {kind}: exit code {done.returncode}; {' '.join(last).strip('= ')}")
    return wrong


def not_run() -> list[str]:
    """Parts of the GPU path that this check did not touch, and why."""
    lines = []
    for name in ("tensorrt", "tensorrt_rtx"):
        if find_spec(name) is None:
            lines.append(f"* {name}: not installed; no engine was built or run")
    state = "installed" if find_spec("torch") else "not installed"
    lines.append(f"* torch: {state}; not used here")
    return lines


if __name__ == "__main__":
    sys.exit(main())
