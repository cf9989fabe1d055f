"""kernels.cu, compiled for the host, against its NumPy twins: equal bit for bit."""

import faulthandler
import multiprocessing
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import emulator
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
from kdc_core.cuda.kernels import PEOPLE, SLOTS, Kernels, Layout
from kdc_core.decode.assign import assign
from kdc_core.decode.centroid import select
from kdc_core.decode.hough import find_peaks, smooth_votes, vote
from kdc_core.decode.refine import refine_unmatched, votes_at
from kdc_core.engines.network_input import preprocess
from kdc_core.skeleton import CENTRE, A
from kdc_core.types import Frame
from tools.gpu_check.crowd_fields import crowd, static

HOUGH = HoughConfig()
ORDERS = (0, 1, 2, 3)  # forward, reverse, two shuffles
SMALL = {
    "crowd": lambda seed: crowd(3, np.random.default_rng(seed), (200, 150), 160),
    "enlarged": lambda seed: crowd(2, np.random.default_rng(seed), (70, 53), 128, radius=9.0),
    "noise": lambda seed: static(5, np.random.default_rng(seed), (97, 61), 96),
    "fine": lambda seed: static(4, np.random.default_rng(seed), (61, 97), 96, 4, 4, 7.0),
}
LINES = compiler._FILE.read_text(encoding="utf-8").splitlines()
BARRIERS = [i + 1 for i, line in enumerate(LINES) if "__syncthreads();" in line]


def on_gpu(driver, fields, hough=HOUGH) -> Kernels:
    kernels = Kernels(driver, Layout.of(fields, hough))
    kernels.load(fields)
    return kernels


def same_votes_and_peaks(driver, fields, hough=HOUGH) -> None:
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


def same_poses(driver, fields, poses, config=CentroidConfig()) -> None:  # noqa: B008
    """Disks equal, σ and confidence within the roundings of exp and cube root."""
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


def same_map(driver, fields, poses, mode, config=AssignConfig()) -> np.ndarray:  # noqa: B008
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
    same_votes_and_peaks(gpu(order), fields)


@pytest.mark.parametrize("hough", [
    HoughConfig(vote_stride=8), HoughConfig(vote_stride=2, min_heat=0.5), HoughConfig(max_peaks=1),
    HoughConfig(max_peaks=SLOTS, peak_threshold=0.001), HoughConfig(refine_steps=0),
])  # fmt: skip
def test_votes_and_peaks_of_other_settings(gpu, hough):
    same_votes_and_peaks(gpu(), SMALL["noise"](5)[0], hough)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("scene", SMALL)
def test_what_is_read_at_poses(gpu, scene, order):
    """Also people with few claimed anchors, with none but the CENTRE, and anchors outside."""
    fields, poses = SMALL[scene](order)
    rng = np.random.default_rng(order)
    claimed = rng.uniform(size=poses.matched.shape) < 0.5
    claimed[0] = np.arange(A) == CENTRE
    claimed[1, 2:] = False
    far = poses.xy + rng.normal(0, 30, poses.xy.shape).astype(np.float32)
    poses = replace(
        poses, matched=claimed, xy=np.where(claimed[..., None], poses.xy, far),
        vis=poses.vis * claimed,
    )  # fmt: skip
    same_poses(gpu(order), fields, poses)


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("scene", SMALL)
def test_anchors_without_a_peak_settle(gpu, scene, steps):
    fields, poses = SMALL[scene](steps)
    rng = np.random.default_rng(steps)
    claimed = rng.uniform(size=poses.matched.shape) < 0.5
    claimed[:, CENTRE] = True
    off = poses.xy + rng.normal(0, 6, poses.xy.shape).astype(np.float32)
    poses = replace(poses, matched=claimed, xy=np.where(claimed[..., None], poses.xy, off))
    config = GroupConfig(unmatched_steps=steps)
    found, expected = (
        on_gpu(gpu(1), fields).refine_unmatched(poses, config),
        refine_unmatched(fields, poses, config),
    )
    np.testing.assert_array_equal(found.xy, expected.xy)
    moved = (expected.xy != poses.xy).any(axis=2)
    assert not moved[claimed].any()
    assert scene == "noise" or bool(moved.any()) == (steps > 0)


def test_a_plateau_gives_its_first_cell(gpu):
    fields, _ = SMALL["crowd"](0)
    flat = replace(fields, heat=np.ones_like(fields.heat), short=np.zeros_like(fields.short))
    same_votes_and_peaks(gpu(1), flat)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("mode", CentroidMode)
def test_labels_and_scores(gpu, mode, order):
    fields, poses = SMALL["crowd"](order)
    labels = same_map(gpu(order), fields, poses, mode)
    assert len(np.unique(labels)) >= 3  # background and at least two people


@pytest.mark.parametrize("scene", ["enlarged", "noise", "fine"])
@pytest.mark.parametrize("steps", [0, 2])
def test_labels_with_and_without_mean_shift(gpu, scene, steps):
    fields, poses = SMALL[scene](1)
    config = AssignConfig(mean_shift_steps=steps, min_phi=0.2, min_seg=0.3)
    same_map(gpu(2), fields, poses, "weighted", config)


def test_most_people_that_fit(gpu):
    fields, poses = crowd(PEOPLE, np.random.default_rng(3), (200, 150), 160)
    labels = same_map(gpu(1), fields, poses, "weighted")
    assert len(np.unique(labels)) > PEOPLE / 3
    centroids = select(fields, poses, CentroidConfig())
    more = replace(
        centroids,
        **{name: np.concatenate([getattr(centroids, name)] * 2) for name in vars(centroids)},
    )
    with pytest.raises(ValueError, match="at most 64 people, got 128"):
        on_gpu(gpu(), fields).assign(more, np.arange(1, 129), AssignConfig(), "weighted")


def test_nobody(gpu):
    fields, poses = crowd(0, np.random.default_rng(0), (64, 64), 64)
    assert not same_map(gpu(), fields, poses, "weighted").any()


def test_what_the_gpu_does_not_do_is_said(gpu):
    fields, poses = SMALL["crowd"](0)
    with pytest.raises(ValueError, match="max_peaks on the GPU"):
        Layout.of(fields, HoughConfig(max_peaks=SLOTS + 1))
    centroids = select(fields, poses, CentroidConfig())
    with pytest.raises(ValueError, match="igo_sigma"):
        on_gpu(gpu(), fields).assign(
            centroids, np.arange(1, 4), AssignConfig(igo_sigma=0.5), "weighted"
        )


def work_of_every_barrier(driver) -> None:
    """The smallest work that goes through all barriers with something to lose at each."""
    fields, poses = SMALL["crowd"](4)
    same_votes_and_peaks(driver, fields)
    same_poses(driver, fields, poses)
    same_map(driver, fields, poses, "weighted", AssignConfig(mean_shift_steps=1))


@pytest.mark.parametrize("line", BARRIERS)
def test_every_barrier_is_needed(gpu, line):
    """Without it some order of the threads gives another result, or reads wild."""
    codes = (_exit_code(_try, lambda o=order: gpu(o, skipped_barrier=line)) for order in ORDERS)
    assert any(codes), f"kernels.cu:{line}: nothing notices that this barrier is gone"


def test_the_work_passes_with_all_barriers(gpu):
    for order in ORDERS:
        work_of_every_barrier(gpu(order))


SEEN = 77  # exit code of a process in which the watch has seen a hazard
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
def test_no_hazard_in_shared_memory(tmp_path):
    """No kernel writes and reads a place of shared memory between two barriers."""
    library = emulator.build(tmp_path, watched=True)
    for order in ORDERS:
        work_of_every_barrier(emulator.EmulatedDriver(library, order))
    for line in BARRIERS:  # the watch is awake: it sees every barrier that is gone
        codes = (_exit_code(_watched, library, order, line) for order in ORDERS)
        assert SEEN in codes, f"kernels.cu:{line}"


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_the_watch_sees_what_a_compiler_could_make_a_hazard(tmp_path):
    """A tree reduction is right, but racecheck warned of its last line on a GPU."""
    driver = emulator.EmulatedDriver(emulator.build(tmp_path, REDUCTION, watched=True))
    values, total = driver.allocate((64,), np.int32), driver.allocate((1,), np.int32)
    driver.upload(values, np.arange(64, dtype=np.int32))
    with pytest.raises(RuntimeError, match=r"threads 0 \(r\) and 0 \(w\)"):
        driver.launch("reduce", (1,), (64,), values, total)
    assert driver.download(total)[0] == 64 * 63 / 2


def _exit_code(target, *args) -> int:
    """Of a copy of this process: without a barrier it may read wild and die."""
    child = multiprocessing.get_context("fork").Process(target=target, args=args)
    child.start()
    child.join()
    return child.exitcode


def _try(driver) -> None:
    sys.stderr = open(os.devnull, "w")  # the traceback is expected
    faulthandler.disable()
    work_of_every_barrier(driver())


def _watched(library, order, line) -> None:
    faulthandler.disable()
    try:
        work_of_every_barrier(emulator.EmulatedDriver(library, order, line))
    except RuntimeError as error:
        os._exit(SEEN if "hazard in shared memory" in str(error) else 1)
    except AssertionError:
        os._exit(1)


@pytest.mark.parametrize("size, longest, tolerance", [
    ((128, 96), 128, 0), ((100, 70), 100, 0), ((640, 480), 320, 1), ((203, 117), 96, 1),
    ((75, 50), 160, 1), ((90, 160), 64, 1),
])  # fmt: skip
def test_preprocess(gpu, size, longest, tolerance):
    """Equal to the letterbox without a resize, within one grey level with one."""
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


def test_kernels_do_not_name_what_the_host_does():
    """Block sizes that kernels.cu relies on are those that kernels.py launches with."""
    bounds = re.findall(r"__launch_bounds__\((\d+)\)\s*\n(\w+)\(", "\n".join(LINES))
    host = Path(compiler.__file__).with_name("kernels.py").read_text(encoding="utf-8")
    for threads, name in bounds:
        call = host[host.index(f'"{name}"') :][:120].replace("32 * A", str(32 * A))
        assert f"({threads},)" in call or "_TILE" in call
