from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("pycocotools", reason="reading annotations needs pycocotools")

from kdc_core.cli import main  # noqa: E402
from kdc_core.engines.torch import load_checkpoint  # noqa: E402
from kdc_core.network.model import KdcNet, preset  # noqa: E402
from kdc_core.system.signals import end_in_order  # noqa: E402
from kdc_lab.training import checkpoint  # noqa: E402
from kdc_lab.training import train as loop  # noqa: E402
from kdc_lab.training.augment import AugmentConfig  # noqa: E402
from kdc_lab.training.data import Pool, epoch_order  # noqa: E402
from kdc_lab.training.hardware import DistributedContext  # noqa: E402
from kdc_lab.training.initial_network import initial_network  # noqa: E402
from kdc_lab.training.pack import read_all  # noqa: E402
from kdc_lab.training.schedule import learning_rate, progress  # noqa: E402
from kdc_lab.training.train_config import PAPER, TrainConfig, config_from  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_compiler")
ROOT = Path(__file__).parents[2]
TINY = {
    "backbone_weights": "none",
    "crop": 64,
    "longest": 64,
    "batch": 2,
    "device": "cpu",
    "precision": "fp32",
    "log_every": 1,
    "warm_up": 2,
    "tune_every": 1000,
    "image_every": 1000,
}


def options(**more) -> list[str]:
    given = {**TINY, **more}
    return [word for k, v in given.items() for word in ("--" + k.replace("_", "-"), str(v))]


def start(arguments: list[str], launcher: tuple[str, ...] = ("-m",)) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *launcher, "kdc_core.cli", "train", *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-2000:]


def curve(folder: Path) -> dict[int, float]:
    lines = [json.loads(x) for x in (folder / "curve.jsonl").read_text().splitlines()]
    return {line["step"]: line["total"] for line in lines if "total" in line}


def test_train_killed_and_resumed_gives_the_unbroken_curve(small_set, tmp_path):
    def arguments(name: str, *more: str) -> list[str]:
        return [
            "--data",
            str(small_set),
            "--out",
            str(tmp_path / name),
            *options(iterations=7, checkpoint_minutes=0),
            *more,
        ]

    whole, broken = start(arguments("whole")), start(arguments("broken"))
    path = tmp_path / "broken" / "curve.jsonl"
    deadline = time.monotonic() + 200
    while not path.exists() or path.read_text().count("\n") < 4:
        assert broken.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    broken.send_signal(signal.SIGKILL)
    assert broken.wait() == -signal.SIGKILL
    broken.communicate()
    saved = checkpoint.load(tmp_path / "broken" / "state.pt")["step"]
    assert 1 <= saved < 7
    finish(start(arguments("broken", "--resume")))
    finish(whole)
    expected, got = curve(tmp_path / "whole"), curve(tmp_path / "broken")
    assert list(got) == list(expected) == list(range(7))
    assert np.allclose(list(got.values()), list(expected.values()), atol=1e-5, rtol=0)
    one, two = (load_checkpoint(tmp_path / n / "ema.pt")[0] for n in ("whole", "broken"))
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.allclose(a.float(), b.float(), atol=1e-5)


def test_train_two_processes_train_one_network(small_set, tmp_path):
    port, logs = str(20000 + os.getpid() % 20000), str(tmp_path / "launcher")
    launcher = (
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        port,
        "--log-dir",
        logs,
        "-m",
    )
    arguments = ["--data", str(small_set), "--out", str(tmp_path / "run")]
    finish(start([*arguments, *options(iterations=3, batch=4)], launcher))
    assert list(curve(tmp_path / "run")) == [0, 1, 2]


def config(tmp_path: Path, **more) -> TrainConfig:
    return TrainConfig(out=str(tmp_path / "run"), **{**TINY, **more})


def test_train_lowers_the_loss_and_writes_usable_weights(small_set, tmp_path):
    pack, _ = read_all([small_set], [], [])
    run = config(
        tmp_path, iterations=24, crop=96, longest=96, batch=4, lr=4e-3, ema=0.8, tune_every=12
    )
    path = loop.train(run, pack, AugmentConfig(paste=0.0, occlude=0.0, zoom=(0.9, 1.1)))
    totals = list(curve(tmp_path / "run").values())
    assert np.mean(totals[-4:]) < 0.8 * np.mean(totals[:4])
    net, info = load_checkpoint(path)
    assert info.longest == 96 and info.preset == "lite" and not net.training
    content = torch.load(path, weights_only=True)
    assert content["train"]["step"] == 24 and content["train"]["config"]["batch"] == 4
    lines = [json.loads(x) for x in (tmp_path / "run" / "curve.jsonl").read_text().splitlines()]
    tuned = [line["step"] for line in lines if "tune/total" in line]
    assert tuned == [11, 23]
    assert (tmp_path / "run" / "training.jpg").exists() and (tmp_path / "run" / "tune.jpg").exists()
    again = loop.train(config(tmp_path, init=str(path), iterations=1), pack)
    assert load_checkpoint(again)[1].longest == 64


def test_train_reuses_heads_of_another_backbone_and_freezes_early_stages(small_set, tmp_path):
    donor = KdcNet(preset("lite"))
    file = tmp_path / "donor.pt"
    checkpoint.export(file, donor, donor.config.info("lite", 64), {})
    run = config(
        tmp_path,
        preset="lite-movenet",
        init=str(file),
        frozen_stride=4,
        iterations=2,
        warm_up=0,
        ema=0.0,
    )
    torch.manual_seed(run.seed)
    start = initial_network(run).state_dict()
    given = {k: v.half() for k, v in donor.state_dict().items()}
    heads = {k for k, v in given.items() if k.startswith("heads.") and v.ndim >= 2}
    same = (k for k in heads if start[k].shape == given[k].shape)
    taken = {k for k in same if torch.equal(start[k].half(), given[k])}
    laterals = [f"{p}.lateral{stride}" for p in ("people", "foreground") for stride in (8, 16, 32)]
    random = {f"heads.{name}.0.weight" for name in ("lateral4", *laterals)}
    assert taken == heads - random and len(heads) > 20

    pack, _ = read_all([small_set], [], [])
    end = torch.load(loop.train(run, pack), weights_only=True)["model"]
    moved = {k for k, v in end.items() if v.ndim >= 2 and not torch.equal(v, start[k].half())}
    early = {
        k
        for k in end
        if k.startswith("backbone.stem.")
        or k.startswith(tuple(f"backbone.blocks.{index}." for index in range(3)))
    }
    assert not moved & early and len(early) == 18
    assert "backbone.blocks.3.expand.weight" in moved and "heads.fields.weight" in moved


def test_train_ends_with_weak_augmentation(small_set, tmp_path, monkeypatch):
    pack, _ = read_all([small_set], [], [])
    seen, make = {}, loop.load_batches

    def watched(pool, step, config, augment, context):
        seen[step] = augment
        return make(pool, step, config, augment, context)

    monkeypatch.setattr(loop, "load_batches", watched)
    loop.train(config(tmp_path, preset="lite", iterations=5, weak_aug_fraction=0.4), pack)
    assert [seen[step].tilt for step in range(5)] == [10.0] * 3 + [6.0] * 2
    assert {a.crop for a in seen.values()} == {64} and {
        a.half_zoom_above for a in seen.values()
    } == {0.0}


def test_train_stops_on_nan_and_keeps_the_weights(small_set, tmp_path, monkeypatch):
    pack, _ = read_all([small_set], [], [])
    call = loop.Loss.__call__

    def broken(self, fields_logits, seg_logits, batch, generator=None):
        total, values = call(self, fields_logits, seg_logits, batch, generator)
        return total * math.nan, values

    monkeypatch.setattr(loop.Loss, "__call__", broken)
    before = {}
    monkeypatch.setattr(
        loop, "initial_network", lambda c: before.setdefault("net", initial_network(c))
    )
    run = config(tmp_path, iterations=100)
    with pytest.raises(RuntimeError, match=r"20 steps in a row: lower --lr\Z"):  # nothing saved
        loop.train(run, pack)
    torch.manual_seed(run.seed)
    fresh = dict(initial_network(run).named_parameters())
    for name, parameter in before["net"].named_parameters():
        assert torch.equal(parameter, fresh[name]), name


def test_train_session_limit_ends_early_and_can_be_resumed(small_set, tmp_path):
    pack, _ = read_all([small_set], [], [])
    loop.train(config(tmp_path, iterations=10_000, leg_minutes=0.01), pack)
    state = checkpoint.load(tmp_path / "run" / "state.pt")
    assert 0 < state["step"] < 200 and 0 < state["elapsed"] < 60
    limit = state["elapsed"] / 60 + 0.01
    loop.train(config(tmp_path, iterations=10_000, minutes=limit), pack, resume=True)
    later = checkpoint.load(tmp_path / "run" / "state.pt")
    assert later["step"] > state["step"] and later["elapsed"] >= limit * 60
    last = json.loads((tmp_path / "run" / "curve.jsonl").read_text().splitlines()[-2])
    assert last["lr"] < 0.5 * TrainConfig().lr


@pytest.mark.parametrize(
    "number, handler",
    [(signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)],
)
def test_train_signal_stops_after_the_step_and_saves(
    small_set, tmp_path, monkeypatch, caplog, number, handler
):
    pack, _ = read_all([small_set], [], [])
    make = loop.training_step

    def interrupted(net, loss, optimizer, batches, step, *more):
        if step == 1:
            signal.raise_signal(number)
        return make(net, loss, optimizer, batches, step, *more)

    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(number, handler)  # otherwise it may be ignored
    try:
        end_in_order()
        usual = signal.getsignal(number)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as stop:
            patch.setattr(loop, "training_step", interrupted)
            with caplog.at_level("INFO"):
                loop.train(config(tmp_path, iterations=3), pack, resume=True)
        assert stop.value.args == (number,)
        assert signal.getsignal(number) is usual
    finally:
        for n, was in before.items():
            signal.signal(n, was)
    assert caplog.messages[0] == f"{tmp_path / 'run'}: nothing to resume, starting a new run"
    assert checkpoint.load(tmp_path / "run" / "state.pt")["step"] == 2
    loop.train(config(tmp_path, iterations=3), pack, resume=True)
    assert list(curve(tmp_path / "run")) == [0, 1, 2]


def test_train_resume_keeps_options_and_refuses_others(small_set, tmp_path, capsys):
    donor = KdcNet(preset("lite"))
    file = tmp_path / "donor.pt"
    checkpoint.export(file, donor, donor.config.info("lite", 64), {})
    where = ["train", "--data", str(small_set), "--out", str(tmp_path / "run")]
    first = options(iterations=1, lr=1e-4, seed=5, init=file)
    assert main([*where, *first]) == 0
    file.unlink()  # the state contains its weights
    (tmp_path / "run").rename(tmp_path / "moved")
    again = ["train", "--data", str(small_set), "--out", str(tmp_path / "moved"), "--resume"]
    assert main([*again, "--batch", "4", "--lr", "1e-4", "--seed", "6"]) == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith("--batch 4 (started with 2), --seed 6 (started with 5)")
    )
    assert main([*again, "--lr", "1e-4", "--iterations", "2", "--log-every", "2"]) == 0
    state = checkpoint.load(tmp_path / "moved" / "state.pt")
    kept = {name: state["config"][name] for name in ("batch", "lr", "seed", "crop", "log_every")}
    assert kept == {"batch": 2, "lr": 1e-4, "seed": 5, "crop": 64, "log_every": 2}
    assert state["step"] == 2 and state["config"]["out"] == str(tmp_path / "moved")


def test_learning_rate_follows_steps_or_time():
    context = DistributedContext(torch.device("cpu"), False)
    run = TrainConfig(iterations=1000, minutes=10, warm_up=100)
    assert progress(500, 60, run, context) == 0.5
    assert progress(500, 540, run, context) == pytest.approx(0.9)
    assert learning_rate(0, 0.0, run) == pytest.approx(run.lr / 100)
    assert learning_rate(200, 0.5, run) == pytest.approx(run.lr * (0.01 + 0.99 * 0.5))
    assert learning_rate(1000, 1.0, run) == pytest.approx(run.lr * 0.01)
    assert learning_rate(0, 0.9, TrainConfig(preset="paper", **PAPER)) == 1e-5


def test_load_batches_ranks_share_a_step_without_overlap(small_set):
    pack, _ = read_all([], [small_set], [])
    pool = Pool(pack, torch.device("cpu"), True)
    run = TrainConfig(**{**TINY, "batch": 8, "accumulate": 2})
    seen = []
    labels = pool.labels
    pool.labels = lambda indices: (seen.append(indices.tolist()), labels(indices))[1]
    for rank in (0, 1):
        context = DistributedContext(torch.device("cpu"), False, rank, 2)
        parts = loop.load_batches(pool, 3, run, AugmentConfig(crop=64, longest=64), context)
        assert [len(part) for part in parts] == [2, 2]
    assert sorted(np.concatenate(seen)) == sorted(epoch_order(8, 8, 3, run.seed).tolist())


def test_weight_average_follows_fast_then_slowly():
    net = torch.nn.Module.__new__(KdcNet)
    KdcNet.__init__(net, preset("lite"))
    average = checkpoint.WeightAverage(net, 0.99)
    name, weight = next(iter(net.named_parameters()))
    mine = dict(average.net.named_parameters())[name]
    old = mine.clone()
    with torch.no_grad():
        weight += 1.0
    average.update(0)  # decay 1 / 10
    assert torch.allclose(mine, old + 0.9, atol=1e-5)
    average.update(10_000)  # decay 0.99: 1 % of the rest
    assert torch.allclose(mine, old + 0.901, atol=1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("device", "tpu"),
        ("crop", 100),
        ("batch", 0),
        ("precision", "int8"),
        ("preset", "large"),
        ("frozen-stride", 16),
        ("iterations", 0),
        ("lr", -1.0),
        ("ema", math.nan),
        ("log-every", 0),
    ],
)
def test_train_config_names_a_wrong_option(field, value):
    with pytest.raises(ValueError, match=f"--{field}: expected"):
        TrainConfig(**{field.replace("-", "_"): value})


@pytest.mark.parametrize(
    "words, length",
    [
        ("--preset paper", (20_000, 400.0)),
        ("--preset paper --iterations 20", (20, 0.0)),
        ("--preset paper --epochs 3", (20_000, 3.0)),
        ("--iterations 20 --epochs 0", (20, 0.0)),
    ],
)
def test_config_from_iterations_replace_epochs_of_the_preset(words, length):
    parser = argparse.ArgumentParser()
    loop.add_arguments(parser)
    made = config_from(parser.parse_args(words.split()))
    assert (made.iterations, made.epochs) == length
    with pytest.raises(ValueError, match="--epochs and --iterations: expected one of them"):
        config_from(parser.parse_args(["--iterations", "20", "--epochs", "3"]))
    begun = {"iterations": 900, "epochs": 3.0}
    assert config_from(parser.parse_args(["--iterations", "20"]), begun).epochs == 0


def test_config_from_reads_former_names_of_a_run():
    parser = argparse.ArgumentParser()
    loop.add_arguments(parser)
    before = {"calm": 0.7, "picture_every": 30, "synth_pictures": 12, "iterations": 900}
    made = config_from(parser.parse_args([]), before)
    assert (made.weak_aug_fraction, made.image_every, made.synth_images) == (0.7, 30, 12)
    with pytest.raises(ValueError, match=r"--weak-aug-fraction 0.5 \(started with 0.7\)"):
        config_from(parser.parse_args(["--weak-aug-fraction", "0.5"]), before)


def test_train_refuses_wrong_checkpoints_in_one_line(small_set, tmp_path):
    pack, _ = read_all([small_set], [], [])
    wrong = tmp_path / "wrong.pt"
    torch.save({"weights": torch.zeros(3)}, wrong)
    with pytest.raises(ValueError, match="it has no 'model'"):
        loop.train(config(tmp_path, init=str(wrong)), pack)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"state\.pt"):
        loop.train(config(tmp_path), pack, resume=True)
    with pytest.raises(ValueError, match="got none: --backbone-weights FILE"):
        loop.train(config(tmp_path, preset="base", backbone_weights="published"), pack)
    process = start(["--out", str(tmp_path / "x")])
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2 and errors.count("\n") == 1 and "--data" in errors


def test_train_command_never_replaces_a_run(tmp_path, capsys):
    (tmp_path / "ema.pt").write_bytes(b"weights of a week")
    assert main(["train", "--data", "none.json", "--out", str(tmp_path)]) == 2
    assert "contains a run: use --resume to continue it" in capsys.readouterr().err
    assert (tmp_path / "ema.pt").read_bytes() == b"weights of a week"
