"""kernels.cu, compiled for the host, is equal bit for bit to its NumPy reference."""

import faulthandler
import multiprocessing
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdc_core.config import (
    AssignConfig,
    CentroidConfig,
    CentroidMode,
    GroupConfig,
    HoughConfig,
    ModelInfo,
)
from kdc_core.cuda import compiler
from kdc_core.cuda.kernels import MAX_PEAKS, MAX_PEOPLE, Kernels, Layout
from kdc_core.decode.assign import assign
from kdc_core.decode.centroid import select
from kdc_core.decode.hough import find_peaks, smooth_votes, vote
from kdc_core.decode.refine import refine_unmatched, votes_at
from kdc_core.engines.network_input import preprocess
from kdc_core.skeleton import CENTRE, A
from kdc_core.types import Frame
from tests.cuda import emulator
from tools.gpu_check.crowd_fields import crowd, noise_fields

HOUGH = HoughConfig()
ORDERS = (0, 1, 2, 3)  # forward, reverse, two shuffles
SMALL = {
    "crowd": lambda seed: crowd(3, np.random.default_rng(seed), (200, 150), 160),
    "enlarged": lambda seed: crowd(2, np.random.default_rng(seed), (70, 53), 128, radius=9.0),
    "noise": lambda seed: noise_fields(5, np.random.default_rng(seed), (97, 61), 96),
    "fine": lambda seed: noise_fields(4, np.random.default_rng(seed), (61, 97), 96, 4, 4, 7.0),
}
LINES = compiler.KERNEL_FILE.read_text(encoding="utf-8").splitlines()
BARRIERS = [i + 1 for i, line in enumerate(LINES) if "__syncthreads();" in line]


def on_gpu(driver, fields, hough=HOUGH) -> Kernels:
    kernels = Kernels(driver, Layout.of(fields, hough))
    kernels.load(fields)
    return kernels


def assert_same_votes_and_peaks(driver, fields, hough=HOUGH) -> None:
    kernels = on_gpu(driver, fields, hough)
    kernels.vote()
    votes = vote(fields, hough)
    np.testing.assert_array_equal(driver.download(kernels.votes), votes)
    kernels.find_peaks()
    found, expected = (
        kernels.download_peaks(),
        find_peaks(fields, votes, smooth_votes(votes), hough),
    )
    for name in ("xy", "score", "vis", "reach", "anchors"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)


def assert_same_poses(driver, fields, poses, config=CentroidConfig()) -> None:  # noqa: B008
    """Scores are equal; σ and confidence agree up to the rounding of exp and cube root."""
    kernels = on_gpu(driver, fields)
    kernels.vote()
    found = kernels.measure(poses, config)
    read = votes_at(smooth_votes(vote(fields, HOUGH)), poses.xy, HOUGH.vote_stride)
    anchor_score = np.where(poses.matched, poses.anchor_score, read)
    np.testing.assert_array_equal(found.anchor_score, anchor_score)
    poses = replace(poses, anchor_score=anchor_score.astype(np.float32))
    expected = select(fields, poses, config)
    for name in ("sigma", "scale", "confidence"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-5, atol=1e-5, err_msg=name
        )


def assert_same_map(driver, fields, poses, mode, config=AssignConfig()) -> np.ndarray:  # noqa: B008
    centroids = select(fields, poses, CentroidConfig(mode=mode))
    ids = 7 * np.arange(len(poses)) + 1
    found = on_gpu(driver, fields).assign(centroids, ids, config, mode)
    expected = assign(fields, centroids, ids, config, mode)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.phi, expected.phi)
    return found.labels


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("scene", SMALL)
def test_votes_and_peaks(gpu, scene, order):
    fields, _ = SMALL[scene](order)
    assert_same_votes_and_peaks(gpu(order), fields)


@pytest.mark.parametrize(
    "hough",
    [
        HoughConfig(vote_stride=8),
        HoughConfig(vote_stride=2, min_heat=0.5),
        HoughConfig(max_peaks=1),
        HoughConfig(max_peaks=MAX_PEAKS, peak_threshold=0.001),
        HoughConfig(refine_steps=0),
    ],
)
def test_votes_and_peaks_with_other_settings(gpu, hough):
    assert_same_votes_and_peaks(gpu(), SMALL["noise"](5)[0], hough)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("scene", SMALL)
def test_measure_at_scattered_anchors(gpu, scene, order):
    """Include people with few matched anchors or the CENTRE alone, and anchors off the image."""
    fields, poses = SMALL[scene](order)
    rng = np.random.default_rng(order)
    matched = rng.uniform(size=poses.matched.shape) < 0.5
    matched[0] = np.arange(A) == CENTRE
    matched[1, 2:] = False
    far = poses.xy + rng.normal(0, 30, poses.xy.shape).astype(np.float32)
    poses = replace(
        poses,
        matched=matched,
        xy=np.where(matched[..., None], poses.xy, far),
        vis=poses.vis * matched,
    )
    assert_same_poses(gpu(order), fields, poses)


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("scene", SMALL)
def test_refine_unmatched(gpu, scene, steps):
    fields, poses = SMALL[scene](steps)
    rng = np.random.default_rng(steps)
    matched = rng.uniform(size=poses.matched.shape) < 0.5
    matched[:, CENTRE] = True
    off = poses.xy + rng.normal(0, 6, poses.xy.shape).astype(np.float32)
    poses = replace(poses, matched=matched, xy=np.where(matched[..., None], poses.xy, off))
    config = GroupConfig(unmatched_steps=steps)
    found, expected = (
        on_gpu(gpu(1), fields).refine_unmatched(poses, config),
        refine_unmatched(fields, poses, config),
    )
    np.testing.assert_array_equal(found.xy, expected.xy)
    moved = (expected.xy != poses.xy).any(axis=2)
    assert not moved[matched].any()
    assert scene == "noise" or bool(moved.any()) == (steps > 0)


def test_find_maxima_of_a_plateau(gpu):
    fields, _ = SMALL["crowd"](0)
    flat = replace(fields, heat=np.ones_like(fields.heat), short=np.zeros_like(fields.short))
    assert_same_votes_and_peaks(gpu(1), flat)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("mode", CentroidMode)
def test_assign_in_every_mode(gpu, mode, order):
    fields, poses = SMALL["crowd"](order)
    labels = assert_same_map(gpu(order), fields, poses, mode)
    assert len(np.unique(labels)) >= 3  # background and at least two people


@pytest.mark.parametrize("scene", ["enlarged", "noise", "fine"])
@pytest.mark.parametrize("steps", [0, 2])
def test_assign_with_mean_shift(gpu, scene, steps):
    fields, poses = SMALL[scene](1)
    config = AssignConfig(mean_shift_steps=steps, min_phi=0.2, min_seg=0.3)
    assert_same_map(gpu(2), fields, poses, CentroidMode.WEIGHTED, config)


def test_assign_with_most_people(gpu):
    fields, poses = crowd(MAX_PEOPLE, np.random.default_rng(3), (200, 150), 160)
    labels = assert_same_map(gpu(1), fields, poses, CentroidMode.WEIGHTED)
    assert len(np.unique(labels)) > MAX_PEOPLE / 3
    centroids = select(fields, poses, CentroidConfig())
    more = replace(
        centroids,
        **{name: np.concatenate([getattr(centroids, name)] * 2) for name in vars(centroids)},
    )
    with pytest.raises(ValueError, match="at most 64 people, got 128"):
        on_gpu(gpu(), fields).assign(more, np.arange(1, 129), AssignConfig(), CentroidMode.WEIGHTED)


def test_assign_without_people(gpu):
    fields, poses = crowd(0, np.random.default_rng(0), (64, 64), 64)
    assert not assert_same_map(gpu(), fields, poses, CentroidMode.WEIGHTED).any()


def test_kernels_refuse_unsupported_settings(gpu):
    fields, poses = SMALL["crowd"](0)
    with pytest.raises(ValueError, match="max_peaks: the GPU decoder"):
        Layout.of(fields, HoughConfig(max_peaks=MAX_PEAKS + 1))
    centroids = select(fields, poses, CentroidConfig())
    with pytest.raises(ValueError, match="igo_sigma"):
        on_gpu(gpu(), fields).assign(
            centroids, np.arange(1, 4), AssignConfig(igo_sigma=0.5), CentroidMode.WEIGHTED
        )


def work_of_every_barrier(driver) -> None:
    """Run the smallest work in which every barrier matters."""
    fields, poses = SMALL["crowd"](4)
    assert_same_votes_and_peaks(driver, fields)
    assert_same_poses(driver, fields, poses)
    assert_same_map(driver, fields, poses, CentroidMode.WEIGHTED, AssignConfig(mean_shift_steps=1))


@pytest.mark.parametrize("line", BARRIERS)
def test_barrier_removal_is_detected(gpu, line):
    """Without a barrier, some thread order gives a wrong result or an invalid read."""
    codes = (_exit_code(_try, lambda o=order: gpu(o, skipped_barrier=line)) for order in ORDERS)
    assert any(codes), f"kernels.cu:{line}: no check fails without this barrier"


def test_all_stages_in_every_thread_order(gpu):
    for order in ORDERS:
        work_of_every_barrier(gpu(order))


SEEN = 77  # exit code of a process in which hazards.h reported a hazard
REDUCTION = """
extern "C" __global__ void __launch_bounds__(64)
reduce(const int* values, int* total) {
    __shared__ int sums[64];
    int me = threadIdx.x;
    sums[me] = values[me];
    for (int step = 32; step; step /= 2) {
        __syncthreads();
        if (me < step) sums[me] += sums[me + step];
    }
    if (me == 0) total[0] = sums[0];
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_shared_memory_has_no_hazard(tmp_path):
    """No kernel writes and reads a location of shared memory between two barriers."""
    library = emulator.build(tmp_path, watched=True)
    for order in ORDERS:
        work_of_every_barrier(emulator.EmulatedDriver(library, order))
    for line in BARRIERS:  # the check itself works: it reports every removed barrier
        codes = (_exit_code(_exit_on_hazard, library, order, line) for order in ORDERS)
        assert SEEN in codes, f"kernels.cu:{line}"


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_hazard_watch_sees_a_tree_reduction(tmp_path):
    """A tree reduction is correct, but its last line is a hazard if a compiler moves the load."""
    driver = emulator.EmulatedDriver(emulator.build(tmp_path, REDUCTION, watched=True))
    values, total = driver.allocate((64,), np.int32), driver.allocate((1,), np.int32)
    driver.upload(values, np.arange(64, dtype=np.int32))
    with pytest.raises(RuntimeError, match=r"threads 0 \(r\) and 0 \(w\)"):
        driver.launch("reduce", (1,), (64,), values, total)
    assert driver.download(total)[0] == 64 * 63 / 2


def _exit_code(target, *args) -> int:
    """Run ``target`` in a fork: without a barrier it may crash."""
    child = multiprocessing.get_context("fork").Process(target=target, args=args)
    child.start()
    child.join()
    return child.exitcode


def _try(driver) -> None:
    sys.stderr = open(os.devnull, "w")  # the traceback is expected
    faulthandler.disable()
    work_of_every_barrier(driver())


def _exit_on_hazard(library, order, line) -> None:
    faulthandler.disable()
    try:
        work_of_every_barrier(emulator.EmulatedDriver(library, order, line))
    except RuntimeError as error:
        os._exit(SEEN if "hazard in shared memory" in str(error) else 1)
    except AssertionError:
        os._exit(1)


@pytest.mark.parametrize(
    "size, longest, tolerance",
    [
        ((128, 96), 128, 0),
        ((100, 70), 100, 0),
        ((640, 480), 320, 1),
        ((203, 117), 96, 1),
        ((75, 50), 160, 1),
        ((90, 160), 64, 1),
    ],
)
def test_preprocess(gpu, size, longest, tolerance):
    """The result equals the letterbox, or differs by one grey level if it resizes."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (size[1] // 8 + 1, size[0] // 8 + 1, 3), np.uint8)
    frame = cv2.resize(coarse, size)
    frame = cv2.add(frame, rng.integers(0, 30, frame.shape, np.uint8))
    fields, _ = crowd(0, rng, size, longest)
    kernels = on_gpu(gpu(2), fields)
    kernels.load_frame(frame)
    kernels.preprocess()
    expected, _ = preprocess(Frame(frame), ModelInfo(longest=longest))
    found = kernels.driver.download(kernels.image)
    assert np.abs(found - expected).max() <= tolerance


def test_launch_bounds_match_the_host():
    """Launch bounds in kernels.cu are the block sizes in kernels.py."""
    bounds = re.findall(r"__launch_bounds__\((\d+)\)\s*\n(\w+)\(", "\n".join(LINES))
    host = Path(compiler.__file__).with_name("kernels.py").read_text(encoding="utf-8")
    for threads, name in bounds:
        call = host[host.index(f'"{name}"') :][:120].replace("32 * A", str(32 * A))
        assert f"({threads},)" in call or "TILE" in call
