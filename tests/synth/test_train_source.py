"""Test rendered people in training: share, order, resume, and pasting in both directions."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("pycocotools", reason="annotations need pycocotools")

from kdc_lab.synth import SynthConfig, synthetic_stills  # noqa: E402
from kdc_lab.training import synthetic_pool, train_config  # noqa: E402
from kdc_lab.training import train as loop  # noqa: E402
from kdc_lab.training.augment import AugmentConfig, draw_plan  # noqa: E402
from kdc_lab.training.augment_torch import make_batch  # noqa: E402
from kdc_lab.training.coco_reader import LoadReport, read_coco  # noqa: E402
from kdc_lab.training.data import Pack, Pool, epoch_order, mixed_order  # noqa: E402
from kdc_lab.training.hardware import DistributedContext  # noqa: E402
from kdc_lab.training.train_config import TrainConfig  # noqa: E402
from kdc_lab.training.training_step import load_batches  # noqa: E402
from tests.synth import drawn_frames  # noqa: E402
from tests.training_set import annotation, entry, write_set  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_compiler")
HERE = DistributedContext(torch.device("cpu"), bf16=False)
AUGMENT = AugmentConfig(crop=64, longest=64)


@pytest.fixture(autouse=True)
def drawn_people(monkeypatch):
    """Use drawings instead of renderings, and threads instead of processes."""
    monkeypatch.setattr(synthetic_stills, "still", drawn_frames.still)
    monkeypatch.setattr(synthetic_pool, "Processes", drawn_frames.Threads)


@pytest.fixture
def real(tmp_path: Path) -> Path:
    ids = [1, 2, 3, 4, 5, 7]  # image 7 is for tuning
    labels = [annotation(i, i, (60, 80), 0.9) for i in ids]
    return write_set(tmp_path / "real", [entry(i) for i in ids], labels)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    synthetic_stills.write_stills(tmp_path / "synth", 5, 3, SynthConfig(), [], workers=1)
    return tmp_path / "synth"


def read(path: Path) -> Pack:
    return read_coco(path, LoadReport(), holdout=True)


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_mixed_order_keeps_the_share_per_step_and_all_images_per_epoch(share):
    real = 7 if share < 1 else 0
    steps = [mixed_order(real, 5, share, 8, step, seed=1) for step in range(10)]
    counts = [int((step >= real).sum()) for step in steps]
    assert all(len(step) == 8 for step in steps)
    assert sum(counts) == round(80 * share) and max(counts) - min(counts) <= 1
    every = np.concatenate(steps)
    for first, count in ((0, real), (real, 5)):
        times = np.bincount(every, minlength=12)[first : first + count]
        assert times.sum() and np.ptp(times) <= 1 if count else not times.sum()
    assert np.array_equal(steps[4], mixed_order(real, 5, share, 8, 4, seed=1))


def test_order_of_without_a_share_equals_order_of_real_images(real, cache):
    config = TrainConfig(batch=4, seed=3)
    pack = read(real)
    pool = synthetic_pool.open_pool(config, pack, None, [], HERE)
    assert len(pool) == len(pack.training()) == 5 and not pool.rendered
    for step in range(4):
        assert np.array_equal(
            synthetic_pool.step_indices(pool, step, config), epoch_order(5, 4, step, 3)
        )
    assert synthetic_pool.count_iterations(TrainConfig(batch=4, epochs=8), pool) == 10


def test_iterations_count_epochs_of_real_or_of_rendered_images_alone(real, cache):
    pack, made = read(real), synthetic_pool.read_rendered(cache, LoadReport())
    mixed = synthetic_pool.open_pool(TrainConfig(batch=4, synth=0.5), pack, made, [], HERE)
    assert len(mixed) == 10
    assert synthetic_pool.count_iterations(TrainConfig(batch=4, synth=0.5, epochs=8), mixed) == 20
    alone = synthetic_pool.open_pool(TrainConfig(batch=4, synth=1.0), pack, made, [], HERE)
    assert len(alone) == alone.rendered == 5
    assert synthetic_pool.count_iterations(TrainConfig(batch=5, synth=1.0, epochs=8), alone) == 8


def test_live_pool_resumed_run_sees_the_same_images(real):
    config = TrainConfig(batch=4, synth=0.5, synth_images=3, seed=5)

    def open_pool() -> synthetic_pool.LivePool:
        return synthetic_pool.open_pool(config, read(real), None, [], HERE)

    unbroken_pool, resumed = open_pool(), open_pool()
    unbroken = [load_batches(unbroken_pool, step, config, AUGMENT, HERE)[0] for step in range(4)]
    batch = load_batches(resumed, 3, config, AUGMENT, HERE)[0]
    for name in ("image", "owner", "ignore", "keypoints", "area", "mask_weight"):
        assert torch.equal(getattr(batch, name), getattr(unbroken[3], name))
    assert not torch.equal(unbroken[3].image, unbroken[2].image)
    unbroken_pool.close()
    resumed.close()


def test_live_pool_renders_the_images_that_kdc_synth_writes(real, cache):
    config = TrainConfig(synth=1.0, synth_images=5, seed=3)
    live = synthetic_pool.open_pool(config, read(real), None, [], HERE)
    stored = Pool(synthetic_pool.read_rendered(cache, LoadReport()), HERE.device, resident=False)
    all_five = np.arange(5)
    one, two = live.sources(all_five), stored.sources(all_five)
    assert torch.equal(one.image, two.image) and torch.equal(one.maps, two.maps)
    assert int(one.maps[:, 0].max()) == 2  # two people
    assert np.array_equal(live.labels(all_five).keypoints, stored.labels(all_five).keypoints)
    live.close()


def test_read_rendered_pack_equals_folder(cache, tmp_path):
    report = LoadReport()
    pack = synthetic_pool.read_rendered(cache, report)
    pack.save(tmp_path / "pack.npz")
    again = synthetic_pool.read_rendered(tmp_path / "pack.npz", report)
    assert (report.images, report.people) == (10, 20) and not report.problems
    assert np.array_equal(again.jpeg, pack.jpeg) and np.array_equal(again.maps, pack.maps)


def test_open_pool_uses_negatives_as_backgrounds(real, tmp_path):
    import cv2

    (tmp_path / "empty").mkdir()
    cv2.imwrite(str(tmp_path / "empty" / "a.png"), np.full((40, 60, 3), (10, 20, 250), np.uint8))
    config = TrainConfig(synth=1.0, synth_images=2)
    pool = synthetic_pool.open_pool(config, read(real), None, [tmp_path / "empty"], HERE)
    corner = pool.sources(np.arange(2)).image[:, :, :8, :8].float().mean(dim=(2, 3))
    assert torch.allclose(corner, torch.tensor([250.0, 20.0, 10.0]), atol=4)
    pool.close()


def test_make_batch_pastes_rendered_people_in_front_of_real_ones(real, cache):
    pack, made = read(real), synthetic_pool.read_rendered(cache, LoadReport())
    pool = synthetic_pool.open_pool(TrainConfig(batch=8, synth=0.5), pack, made, [], HERE)
    augment = AugmentConfig(
        crop=256, longest=256, paste=1.0, occlude=0.0, zoom=(1.0, 1.0), strong_tilt=0.0
    )
    first, hidden = len(pool) - pool.rendered, 0
    ways = {(False, True): 0, (True, False): 0}  # rendered donor, rendered target
    for step in range(6):
        indices = mixed_order(first, 5, 0.5, 8, step, seed=0)
        plan = draw_plan(pool.labels(indices), np.random.default_rng(step), augment)
        batch = make_batch(pool, indices, np.random.default_rng(step), augment)
        for target, donor, row in zip(
            plan.paste.sample, plan.paste.donor, plan.paste.row, strict=True
        ):
            way = (bool(indices[donor] >= first), bool(indices[target] >= first))
            if way in ways:
                ways[way] += 1
            if way == (True, False):
                on_it = batch.owner[target] == row + 1
                assert on_it.any() or batch.area[target, row] == 0
                was, now = plan.keypoints[target, :row, :, 2], batch.keypoints[target, :row, :, 2]
                lowered = (was == 2) & (now.numpy() == 1)
                for person, point in zip(*np.nonzero(lowered), strict=True):
                    x, y = batch.keypoints[target, person, point, :2].round().int().tolist()
                    assert on_it[min(y, 255), min(x, 255)]
                hidden += int(lowered.sum())
    assert min(ways.values()) >= 5 and hidden >= 10


def test_train_command_runs_on_a_mixture(real, cache, tmp_path):
    parser = argparse.ArgumentParser()
    train_config.add_arguments(parser)
    out = tmp_path / "run"
    given = (
        f"--data {real} --synth 0.5 --synth-data {cache} --out {out} --iterations 2 --batch 4 "
        "--backbone-weights none --crop 64 --longest 64 --device cpu --precision fp32 --log-every 1"
    )
    assert loop.main(parser.parse_args(given.split())) == 0
    lines = [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]
    assert sum("total" in line for line in lines) == 2
    assert all(np.isfinite(line["total"]) for line in lines if "total" in line)
    assert (out / "ema.pt").stat().st_size > 1000


def test_train_command_refuses_wrong_arguments_in_one_line(real, cache, tmp_path):
    parser = argparse.ArgumentParser()
    train_config.add_arguments(parser)
    common = ["--data", str(real), "--out", str(tmp_path / "run"), "--device", "cpu"]
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").touch()
    with pytest.raises(ValueError, match="expected at least one usable image, got none"):
        loop.main(parser.parse_args(["--negatives", str(tmp_path / "broken"), *common[2:]]))
    for more, words in (
        (["--synth", "1.5"], "share from 0 to 1"),
        (["--synth-data", str(cache)], "--synth 0.3"),
        (["--synth", "0.5", "--synth-data", str(tmp_path / "none")], "no such annotation file"),
        (["--seed", "9" * 20], "--seed: expected a number from 0 to 2147483647"),
        (["--synth", "0.5", "--synth-images", "0"], "number from 1 to 2147483647"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            loop.main(parser.parse_args([*common, *more]))
        assert "\n" not in str(error.value)
