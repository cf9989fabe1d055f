"""Run GpuPipeline over a fake TensorRT and libcuda in four threads; run by test_trt_build.py.

The fake network returns the fields of a synthetic crowd, whose number is the value of the pixels.
Therefore the result depends on the uploaded frame.
"""

import ctypes
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.cuda import fake_tensorrt

sys.modules["tensorrt"] = fake_tensorrt

from kdc_core.config import AssignConfig, CentroidConfig, DecodeConfig, HoughConfig  # noqa: E402
from kdc_core.decode import decode  # noqa: E402
from kdc_core.engines.tensorrt import TensorrtEngine  # noqa: E402
from kdc_core.pipeline import Pipeline, open_pipeline  # noqa: E402
from kdc_core.track.video_decoder import VideoDecoder  # noqa: E402
from kdc_core.types import Fields, Frame  # noqa: E402
from tools.gpu_check.crowd_fields import crowd  # noqa: E402

FAKE = ctypes.CDLL("libcuda.so.1")
SIZES = ((160, 128), (96, 160))
CONFIG = DecodeConfig()


def scene(number: int) -> Fields:
    """Return the fields of 0 to 5 people with noise, for one of two frame sizes."""
    rng = np.random.default_rng(number)
    return crowd(number % 6, rng, SIZES[number % 2], 160, noise=0.1)[0]


def frame(number: int) -> Frame:
    """Return the frame for which the network returns ``scene(number)``."""
    width, height = SIZES[number % 2]
    return Frame(np.full((height, width, 3), number, np.uint8))


def answer(image: np.ndarray) -> list[np.ndarray]:
    """Return the network's outputs for an image."""
    fields = scene(int(image[0, 0, 0, 0]))
    heads = (fields.heat, fields.short, fields.mid, fields.anchor, fields.log_sigma, fields.vis)
    flat = [head.reshape(-1, *fields.log_sigma.shape) for head in heads]
    return [np.concatenate(flat)[None], fields.seg[None, None]]


def same(pipeline: Pipeline, number: int, config: DecodeConfig) -> int:
    """Compare with the CPU decoder; return the number of people."""
    found, expected = pipeline(frame(number)), decode(scene(number), config)
    for name in ("ids", "keypoints", "visible", "centroid", "centroid_xy", "phase"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    # σ and confidence differ in the last bits, so one pixel in ten thousand may change its label …
    moved = (found.labels != expected.labels).sum()
    assert moved <= 2, number
    for name in ("score", "mask_score"):  # … and the mean of φ its last bit
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=0, atol=1e-3 if moved else 1e-6
        )
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1)
    assert (
        set(pipeline.timings) == set(("network", "hough", "group", "select", "assign", "score"))
        and min(pipeline.timings.values()) >= 0
    )
    return len(found)


def work(pipeline: Pipeline, numbers: list[int], people: list[int], errors: list) -> None:
    """Process frames of both sizes."""
    try:
        people += [same(pipeline, number, CONFIG) for number in numbers]
    except BaseException as error:
        errors.append(error)


def main(model: Path) -> None:
    """Share two pipelines between four threads, change settings, and measure the downloads."""
    fake_tensorrt.answer, fake_tensorrt.libcuda = answer, FAKE
    pipelines = [open_pipeline(TensorrtEngine(model, precision="fp32"), CONFIG) for _ in range(2)]
    people, errors = [], []
    threads = [
        threading.Thread(target=work, args=(pipelines[i % 2], [i, i + 4, i + 9], people, errors))
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    print(type(pipelines[0]).__name__, "found people:", sum(people) > 12)
    settings(pipelines[0])
    before = FAKE.fake_downloaded()
    pipelines[0].config = CONFIG
    pipelines[0](frame(3))
    dense = 4 * (188 * 20 * 12 + 80 * 48)
    print("label image and candidates only:", FAKE.fake_downloaded() - before < dense)
    print("in track mode:", len(pipelines[0](frame(3), VideoDecoder(CONFIG), time=0.0).ids) > 0)
    for pipeline in pipelines * 2:
        pipeline.close()
    print("leaks:", FAKE.fake_leaks(), "calls without a context:", FAKE.fake_out_of_context())


def settings(pipeline: Pipeline) -> None:
    """Change the configuration between frames; the last one needs the CPU decoder."""
    for config in (
        replace(CONFIG, centroid=CentroidConfig(mode="nearest")),
        replace(CONFIG, centroid=CentroidConfig(mode="static")),
        replace(CONFIG, hough=HoughConfig(vote_stride=8, max_peaks=5)),
        replace(CONFIG, assign=AssignConfig(mean_shift_steps=1)),
        replace(CONFIG, hough=HoughConfig(max_peaks=65)),
    ):
        pipeline.config = config
        same(pipeline, 5, config)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
