"""Time every GPU stage and show its lower bound; part of ``tools.gpu_check.check``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from kdc_core.config import (
    AssignConfig,
    CentroidConfig,
    CentroidMode,
    DecodeConfig,
    GroupConfig,
    HoughConfig,
)
from kdc_core.cuda import Kernels, Layout, find_poses
from kdc_core.decode import decode, select
from kdc_core.skeleton import A
from kdc_core.types import Fields, Poses
from tools.gpu_check import floors
from tools.gpu_check.crowd_fields import crowd
from tools.gpu_check.gpu_report import Report

CROWDS = (1, 5, 20, 50)
#: ``delay`` keeps the GPU busy while launches are queued, so that they run back to back
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
    """Time every stage on the GPU, and the whole decoder."""
    driver.load_kernels(_DELAY)
    rate = _copy_rate(driver)
    empty = _microseconds(driver, lambda: driver.launch("nothing", (1,), (32,), 0))
    report.add("\n## Time per stage, 640 × 480, µs\n")
    report.add(
        f"A copy kernel reads and writes {rate / 1e12:.2f} TB/s in device memory. An empty kernel "
        f"in a full queue takes {empty:.1f} µs, and no launch is faster. Times are medians of "
        "5 × 100 runs between CUDA events, queued while the GPU is busy. Inputs are in the L2 "
        "cache, as they are after the network. The lower bound is the larger of two times: bytes "
        "at the copy rate, and operations at the GPU's float32 rate of "
        f"{driver.operations_per_second / 1e12:.0f} T/s (the kernels use no fused operations).\n"
    )
    names = [name for name, _ in stages(None, AssignConfig(), 1)]
    report.add("| people | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|")
    whole = []
    for people in CROWDS:
        fields, poses = crowd(people, np.random.default_rng(people))
        kernels = prepare(driver, fields, poses)
        cells = []
        work = floors.work(kernels, fields, select(fields, poses, CentroidConfig()))
        for name, stage in stages(kernels, AssignConfig(), people):
            floor = work[name].microseconds(rate, driver.operations_per_second)
            cells.append(f"{_microseconds(driver, stage):.1f} ({floor:.2f})")
        report.add(f"| {people} | " + " | ".join(cells) + " |")
        whole.append(f"| {people} | " + " | ".join(decoder_times(driver, kernels, fields)) + " |")
        kernels.close()
    report.add(
        "\nThe lower bound is in parentheses. Times include the clearing of outputs.",
        "\n## Whole decoder, 640 × 480, ms\n",
        "Wall-clock time, median of 20 runs. Fields start in device memory; label image and poses "
        "end on the host. Grouping runs on the CPU in both decoders.\n",
        "| people | GPU decoder | its hough | group | select | assign | NumPy decoder | "
        "fields to host |",
        "|---|---|---|---|---|---|---|---|",
        *whole,
    )


def stages(kernels: Any, config: AssignConfig, people: int) -> list[tuple[str, Callable]]:
    """Return name and function of every stage, in the order of the decoder."""
    return [
        ("preprocess", lambda: kernels.preprocess()),
        ("vote", lambda: kernels.vote()),
        ("find_maxima", lambda: kernels.find_maxima()),
        ("pick_peaks", lambda: kernels.pick_peaks()),
        ("read_peaks", lambda: kernels.read_peaks()),
        ("pool", lambda: kernels.pool()),
        ("refine_unmatched", lambda: kernels.refine_anchors(people, GroupConfig())),
        ("read_poses", lambda: kernels.read_poses(people, CentroidConfig())),
        ("membership", lambda: kernels.membership(people, config, CentroidMode.WEIGHTED)),
        ("mean_shift", lambda: kernels.mean_shift(people)),
        ("paint", lambda: kernels.paint(config)),
    ]


def prepare(driver: Any, fields: Fields, poses: Poses) -> Kernels:
    """Return kernels whose buffers hold a frame, its fields and its people."""
    kernels = Kernels(driver, Layout.of(fields, HoughConfig()))
    kernels.load(fields)
    kernels.load_frame(np.random.default_rng(0).integers(0, 256, kernels.frame.shape, np.uint8))
    centroids = select(fields, poses, CentroidConfig())
    # as if every second anchor were unmatched
    kernels.load_poses(replace(poses, matched=poses.matched & (np.arange(A) % 2 > 0)))
    kernels.load_centroids(centroids, np.arange(1, len(poses) + 1))
    kernels.vote()
    return kernels


def _microseconds(driver: Any, work: Callable, runs: int = 100) -> float:
    """Return the GPU time of one run, microseconds."""
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
    """Return bytes per second, read and written, of a copy kernel over 128 MiB."""
    n = 8 << 20
    a, b = driver.allocate((n, 4), np.float32), driver.allocate((n, 4), np.float32)
    work = lambda: driver.launch("copy", (n // 256,), (256,), a, b, n)  # noqa: E731
    moved: int = 2 * a.size
    return moved / (_microseconds(driver, work, runs=20) * 1e-6)


def decoder_times(driver: Any, kernels: Kernels, fields: Fields) -> list[str]:
    """Return one row of the table of the whole decoder."""
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
