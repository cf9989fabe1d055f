"""TensorrtEngine and GpuPipeline over a fake TensorRT and the emulated GPU, without PyCUDA."""

from dataclasses import replace

import numpy as np
import pytest

from kdc_core.config import AssignConfig, CentroidConfig, DecodeConfig, GroupConfig, HoughConfig
from kdc_core.decode import decode
from kdc_core.decode.centroid import select
from kdc_core.engines import tensorrt
from kdc_core.engines.onnxruntime import OnnxRuntimeEngine
from kdc_core.pipeline import Pipeline, open_pipeline
from kdc_core.pipeline.gpu_pipeline import GpuPipeline, not_on_gpu
from kdc_core.types import Fields, Frame
from tests.cuda import emulator, fake_tensorrt
from tools.gpu_check import engine_check, floors, stage_times
from tools.gpu_check.crowd_fields import crowd
from tools.gpu_check.gpu_report import Report

CONFIG = DecodeConfig()


@pytest.fixture
def open_engine(model, gpu, monkeypatch, tmp_path):
    """``open_engine(precision)`` on an emulated GPU; engines are cached in the test's folder."""
    library = gpu().library
    monkeypatch.setenv("KDC_ENGINES", str(tmp_path))
    monkeypatch.setattr(tensorrt, "gpu_unavailable_reason", lambda: "")
    monkeypatch.setattr(tensorrt, "gpu_name", lambda: "emulated GPU (sm_90)")
    monkeypatch.setattr(tensorrt, "load_tensorrt", lambda: fake_tensorrt)
    monkeypatch.setattr(tensorrt, "PycudaDriver", lambda: emulator.EmulatedGpu(library))
    monkeypatch.setattr(fake_tensorrt, "refuse", 0)
    return lambda precision="fp32": tensorrt.TensorrtEngine(model, precision=precision)


@pytest.mark.parametrize("precision, tolerance", [("fp32", 0), ("fp16", 0.02)])
def test_tensorrt_engine_agrees_with_onnxruntime(open_engine, model, precision, tolerance):
    engine, reference = open_engine(precision), OnnxRuntimeEngine(model, 1)
    rng = np.random.default_rng(0)
    for width, height in ((160, 128), (96, 160), (160, 128)):
        frame = Frame(rng.integers(0, 256, (height, width, 3), np.uint8))
        found, expected = engine(frame), reference(frame)
        assert found.letterbox == expected.letterbox
        for name in ("heat", "short", "mid", "anchor", "log_sigma", "vis", "seg"):
            a, b = getattr(found, name), getattr(expected, name)
            assert np.abs(a - b).max() <= tolerance * max(1, np.abs(b).max()), name
    assert engine.name.startswith(f"fake_tensorrt 10.3.0 {precision}, emulated GPU")
    engine.close()


def test_prepare_keeps_buffers_of_recent_sizes(open_engine):
    """Cameras of four sizes in turn allocate nothing; a fifth size replaces the oldest."""
    engine = open_engine()
    sizes = [(160, 128), (128, 160), (96, 64), (64, 96), (160, 96)]
    made = [engine.prepare(size, HoughConfig()) for size in sizes[:4]]
    buffers = len(engine.driver.buffers)
    assert [engine.prepare(size, HoughConfig()) for size in sizes[:4]] == made
    assert len(engine.driver.buffers) == buffers
    engine.prepare(sizes[0], HoughConfig())
    engine.prepare(sizes[4], HoughConfig())
    assert len(engine.driver.buffers) == buffers
    assert engine.prepare(sizes[0], HoughConfig()) is made[0]
    assert engine.prepare(sizes[1], HoughConfig()) is not made[1]
    engine.close()


def test_tensorrt_engine_rebuilds_what_does_not_load(open_engine, caplog):
    before = len(fake_tensorrt.built)
    open_engine().close()
    open_engine().close()
    assert len(fake_tensorrt.built) == before + 1
    fake_tensorrt.refuse = 1
    open_engine().close()
    assert len(fake_tensorrt.built) == before + 2
    assert "rebuilding the cached engine: it does not load on this machine" in caplog.text
    fake_tensorrt.refuse = 2
    with pytest.raises(ValueError, match="cannot load the engine that it has just built"):
        open_engine()


def test_tensorrt_engine_reports_a_failing_start(open_engine, monkeypatch):
    monkeypatch.setattr(fake_tensorrt.Engine, "create_execution_context", lambda self: None)
    with pytest.raises(ValueError, match="too little free memory"):
        open_engine()

    def null(logger):
        raise TypeError("factory function returned nullptr")

    monkeypatch.setattr(fake_tensorrt, "Runtime", null)
    with pytest.raises(ValueError, match="TensorRT cannot start: it finds no usable GPU"):
        open_engine()


def test_tensorrt_engine_precision_from_environment(open_engine, monkeypatch):
    assert " fp16, " in open_engine("").name
    monkeypatch.setenv("KDC_PRECISION", "fp32")
    assert " fp32, " in open_engine("").name
    monkeypatch.setenv("KDC_PRECISION", "fp8")
    with pytest.raises(ValueError, match="got 'fp8'"):
        open_engine("")


def test_tensorrt_engine_refuses_other_shapes(open_engine, monkeypatch):
    engine = open_engine()
    monkeypatch.setattr(fake_tensorrt.Context, "get_tensor_shape", lambda *_: (1, 3, 8, 8))
    with pytest.raises(ValueError, match="expected image to be"):
        engine(Frame(np.zeros((128, 160, 3), np.uint8)))


def answer_with(monkeypatch, fields: Fields) -> Frame:
    """Let the network return ``fields`` for every image; return a frame of their size."""
    heads = (fields.heat, fields.short, fields.mid, fields.anchor, fields.log_sigma, fields.vis)
    flat = np.concatenate([head.reshape(-1, *fields.log_sigma.shape) for head in heads])
    outputs = [flat[None], fields.seg[None, None]]
    monkeypatch.setattr(fake_tensorrt, "answer", lambda image: outputs)
    width, height = fields.letterbox.frame_size
    return Frame(np.zeros((height, width, 3), np.uint8))


@pytest.mark.parametrize("people", [0, 1, 4])
@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, centroid=CentroidConfig(mode="single")),
        replace(CONFIG, group=replace(GroupConfig(), max_people=2)),
        replace(CONFIG, hough=HoughConfig(vote_stride=8, peak_threshold=0.2)),
        replace(CONFIG, hough=HoughConfig(max_peaks=65)),
    ],
)
def test_gpu_pipeline_agrees_with_the_cpu_decoder(open_engine, monkeypatch, people, config):
    fields, _ = crowd(people, np.random.default_rng(people + 20), (160, 120), 160, noise=0.1)
    frame = answer_with(monkeypatch, fields)
    pipeline = open_pipeline(open_engine(), config)
    assert isinstance(pipeline, GpuPipeline)
    found, expected = pipeline(frame), decode(fields, config)
    assert len(found) == len(expected) and (len(found) > 0) == (people > 0)
    for name in ("ids", "keypoints", "visible", "centroid", "centroid_xy", "phase"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    # σ differs in its last bits, and with it the mean of φ from which the score follows
    np.testing.assert_allclose(found.score, expected.score, rtol=0, atol=1e-6)
    assert (found.labels != expected.labels).sum() <= 2
    np.testing.assert_allclose(found.mask_score, expected.mask_score, atol=1e-3)
    assert (
        set(pipeline.timings) == set(("network", "hough", "group", "select", "assign", "score"))
        and min(pipeline.timings.values()) >= 0
    )
    pipeline.close()
    pipeline.close()


def test_gpu_pipeline_downloads_no_dense_field(open_engine, monkeypatch):
    fields, _ = crowd(3, np.random.default_rng(0), (160, 120), 160, noise=0.1)
    frame = answer_with(monkeypatch, fields)
    pipeline = open_pipeline(open_engine())
    copied = []
    driver = pipeline.engine.driver
    monkeypatch.setattr(
        driver, "download", lambda b: copied.append(b) or type(driver).download(driver, b)
    )
    pipeline(frame)
    kernels = pipeline.engine.kernels
    dense = {
        "fields",
        "seg",
        "votes",
        "keys",
        "phi",
        "share",
        "best",
        "candidates",
        "image",
        "frame",
    }
    assert not any(buffer is getattr(kernels, name) for name in dense for buffer in copied)
    assert sum(buffer is kernels.labels for buffer in copied) == 1


def test_open_pipeline_for_a_cpu_engine(model):
    engine = OnnxRuntimeEngine(model, 1)
    assert type(open_pipeline(engine)) is Pipeline


@pytest.mark.parametrize(
    "config, reason",
    [
        (CONFIG, ""),
        (replace(CONFIG, hough=HoughConfig(max_peaks=65)), "max_peaks 65 is above the GPU's 64"),
        (replace(CONFIG, group=GroupConfig(max_people=70)), "max_people 70 is above the GPU's 64"),
        (replace(CONFIG, assign=AssignConfig(igo_sigma=1.0)), "igo_sigma 1.0 smooths"),
    ],
)
def test_not_on_gpu_names_the_setting(config, reason):
    assert not_on_gpu(config).startswith(reason) and bool(not_on_gpu(config)) == bool(reason)


def test_check_engine_compares_and_times(open_engine, model, monkeypatch, tmp_path):
    small = [Frame(frame.image[:120, :160]) for frame in engine_check.frames()]
    assert [frame.size for frame in engine_check.frames()] == [(640, 480)] * 3
    monkeypatch.setattr(engine_check, "frames", lambda: small)
    monkeypatch.setattr(engine_check, "gpu_unavailable_reason", lambda: "")
    report = Report(tmp_path / "report.md")
    assert engine_check.check_engine(report, model, runs=1) == 0
    rows = [line.split(" | ") for line in report.lines if line.startswith("| fake_tensorrt")]
    assert len(rows) == 2 and all(len(row) == 11 for row in rows)
    monkeypatch.setattr(engine_check, "PRECISIONS", ("fp32",))
    monkeypatch.setattr(engine_check, "TOLERANCE", {"fp32": -1})
    assert engine_check.check_engine(report, model, runs=1) == 1
    monkeypatch.setattr(engine_check, "gpu_unavailable_reason", lambda: "driver: none")
    assert engine_check.check_engine(report, model) is None
    assert (tmp_path / "report.md").read_text(encoding="utf-8").endswith("not run: driver: none\n")


def test_every_stage_has_a_time_and_a_floor(gpu):
    fields, poses = crowd(2, np.random.default_rng(0), (97, 61), 96)
    driver = emulator.EmulatedGpu(gpu().library)
    kernels = stage_times.prepare(driver, fields, poses)
    centroids = select(fields, poses, CentroidConfig())
    work = floors.work(kernels, fields, centroids)
    stages = stage_times.stages(kernels, AssignConfig(), len(poses))
    assert {name for name, _ in stages} == set(work)
    for name, stage in stages:
        stage()
        assert work[name].microseconds(1e12, 1e13) > 0
    row = [float(cell) for cell in stage_times.decoder_times(driver, kernels, fields)]
    assert len(row) == 7 and row[0] >= max(row[1:5])
