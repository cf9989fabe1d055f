"""Time every GPU stage and compare it with its floor; part of ``tools.gpu_check.check``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from kdc_core.config import AssignConfig, CentroidConfig, DecodeConfig, GroupConfig, HoughConfig
from kdc_core.cuda import Kernels, Layout, find_poses
from kdc_core.decode import decode, select
from kdc_core.skeleton import A
from kdc_core.types import Fields, Poses
from tools.gpu_check import floors
from tools.gpu_check.crowd_fields import crowd
from tools.gpu_check.gpu_report import Report

CROWDS = (1, 5, 20, 50)
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


def time_all(driver: Any, report: Report) -> None:
    """Every stage on the GPU, and the decoder as a whole."""
    driver.load_kernels(_DELAY)
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
        "Wall clock, median of 20, fields in device memory, label image and poses on the host "
        "after it; grouping runs on the CPU in both columns.\n",
        "| people | GPU decoder | of it hough | group | select | assign | NumPy decoder | "
        "fields to host |",
        "|---|---|---|---|---|---|---|---|", *whole,
    )  # fmt: skip


def _stages(kernels: Any, config: AssignConfig, people: int) -> list[tuple[str, Callable]]:
    return [
        ("preprocess", lambda: kernels.preprocess()),
        ("vote", lambda: kernels.vote()),
        ("find_maxima", lambda: kernels.find_maxima()),
        ("pick_peaks", lambda: kernels.pick_peaks()),
        ("read_peaks", lambda: kernels.read_peaks()),
        ("pool", lambda: kernels.pool()),
        ("refine_unmatched", lambda: kernels.refine_anchors(people, GroupConfig())),
        ("read_poses", lambda: kernels.read_poses(people, CentroidConfig())),
        ("membership", lambda: kernels.membership(people, config, "weighted")),
        ("mean_shift", lambda: kernels.mean_shift(people)),
        ("paint", lambda: kernels.paint(config)),
    ]


def _prepared(driver: Any, fields: Fields, poses: Poses) -> Kernels:
    kernels = Kernels(driver, Layout.of(fields, HoughConfig()))
    kernels.load(fields)
    kernels.load_frame(np.random.default_rng(0).integers(0, 256, kernels.frame.shape, np.uint8))
    centroids = select(fields, poses, CentroidConfig())
    # as if every second anchor had no peak
    kernels.load_poses(replace(poses, matched=poses.matched & (np.arange(A) % 2 > 0)))
    kernels.load_centroids(centroids, np.arange(1, len(poses) + 1))
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
    last = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        laps.setdefault(name, []).append((now - last) * 1e3)
        last = now

    for _ in range(20):
        last = begin = time.perf_counter()
        poses, centroids = find_poses(kernels, config, lap)
        ids = np.arange(1, len(poses) + 1)
        kernels.assign(centroids, ids, config.assign, config.centroid.mode)
        lap("assign")
        laps.setdefault("all", []).append((last - begin) * 1e3)
        decode(fields, config)
        lap("numpy")
        driver.download_all((kernels.fields, kernels.seg))
        lap("copy")
    columns = ("all", "hough", "group", "select", "assign", "numpy", "copy")
    return [f"{np.median(laps[name]):.2f}" for name in columns]
