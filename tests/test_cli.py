"""The ``kdc`` command: what it writes, and one clear line with exit code 2 for bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest

import kdc_core.cli
from kdc_core.cli import COMMANDS, main
from kdc_core.errors import InputError, one_line
from kdc_core.io.source import open_source
from tests.command_line import ROOT, picture, refused
from tests.video_files import clip

pytest.importorskip("torch", reason="the network for these tests is made with torch")
pytest.importorskip("onnx", reason="export needs onnx: extra `train`")
pytest.importorskip("pycocotools", reason="evaluation needs pycocotools: extra `train`")

from tests.coco_files import two_scenes


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((60, 80, 3), 90, np.uint8),
        np.full((60, 80), 90, np.uint8),
        np.full((60, 80), 30000, np.uint16),
        np.full((1, 1, 3), 90, np.uint8),
        np.full((1, 200, 3), 90, np.uint8),
    ],
    ids=["colour", "grey", "16-bit", "1x1", "1x200"],
)
def test_run_on_a_picture(model: str, tmp_path: Path, capsys, pixels: np.ndarray) -> None:
    source = picture(tmp_path / "a.png", pixels)
    out, masks = tmp_path / "out.png", tmp_path / "masks"
    code = main(["run", source, "--model", model, "--out", str(out), "--save-masks", str(masks)])
    assert code == 0
    labels = cv2.imread(str(masks / "a.png"), cv2.IMREAD_UNCHANGED)
    assert labels.shape == pixels.shape[:2]
    assert labels.dtype == np.uint16
    assert cv2.imread(str(out)).shape == (*pixels.shape[:2], 3)
    assert "1 frames, " in capsys.readouterr().out


def test_run_on_a_folder(model: str, tmp_path: Path, capsys) -> None:
    pictures = tmp_path / "in"
    pictures.mkdir()
    for name in ("a.jpg", "b.jpg"):
        picture(pictures / name, np.full((48, 64, 3), 90, np.uint8))
    out = tmp_path / "out"
    assert main(["run", str(pictures), "--model", model, "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["a.jpg", "b.jpg"]


def test_run_on_a_video(model: str, tmp_path: Path, capsys) -> None:
    source = str(clip(tmp_path / "a.avi", frames=12))
    out = tmp_path / "out.mp4"
    argv = ["run", source, "--model", model, "--out", str(out), "--max-frames", "9"]
    assert main(argv) == 0
    assert len(list(open_source(str(out)))) == 9
    assert capsys.readouterr().out.startswith("9 frames, ")


@pytest.mark.parametrize(("keys", "visible", "waits"), [([-1, -1, -1, 32], 1, 4), ([-1] * 9, 0, 2)])
def test_a_picture_is_shown_until_a_key_or_its_window_closes(
    model: str, tmp_path: Path, capsys, monkeypatch, keys: list[int], visible: int, waits: int
) -> None:
    source, waited = picture(tmp_path / "a.png", np.zeros((48, 64, 3), np.uint8)), []
    monkeypatch.setenv("DISPLAY", ":0")
    for name, answer in (
        ("namedWindow", None), ("imshow", None), ("getWindowProperty", visible),
    ):  # fmt: skip
        monkeypatch.setattr(cv2, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(cv2, "waitKey", lambda ms: waited.append(ms) or keys[len(waited) - 1])
    assert main(["run", source, "--model", model, "--view"]) == 0
    assert len(waited) == waits
    assert capsys.readouterr().out.startswith(("no people\n", "person 1: "))


def test_truncated_video_is_processed_to_its_break(model: str, tmp_path: Path, capsys) -> None:
    path = clip(tmp_path / "whole.avi")
    cut = tmp_path / "cut.avi"
    cut.write_bytes(path.read_bytes()[: 2 * path.stat().st_size // 3])
    out = tmp_path / "out.avi"
    assert main(["run", str(cut), "--model", model, "--out", str(out)]) == 2
    captured = capsys.readouterr()
    frames = int(captured.out.split()[0])
    assert 5 <= frames <= 25
    assert len(list(open_source(str(out)))) == frames
    assert captured.err.strip().splitlines()[-1] == (
        f"kdc: {cut}: truncated: read {frames} of 30 frames, and processed them"
    )


def test_bad_sources(model: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("I am no picture")
    (tmp_path / "text.mp4").write_text("I am no video")
    for source, message in (
        ("gone.mp4", "gone.mp4: no such file, folder or camera"),
        ("empty", "no images in this folder"),
        ("text.jpg", "text.jpg: not a readable image"),
        ("text.mp4", "text.mp4: cannot be opened: not a readable video"),
    ):
        refused(capsys, ["run", str(tmp_path / source), "--model", model], message)
    refused(capsys, ["run", "99", "--model", model], "camera 99: cannot be opened")
    refused(
        capsys, ["run", "", "--model", model], "expected a file, folder or camera, got an empty"
    )


def test_bad_models(tmp_path: Path, capsys) -> None:
    import onnx

    source = picture(tmp_path / "a.png", np.zeros((48, 64, 3), np.uint8))
    text = tmp_path / "text.onnx"
    text.write_text("I am no network")
    foreign = tmp_path / "foreign.onnx"
    value = [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])]
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    out = [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])]
    graph = onnx.helper.make_graph([node], "g", value, out)
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), foreign)
    for engine in ("auto", "onnxruntime"):
        argv = ["run", source, "--engine", engine, "--model"]
        refused(capsys, [*argv, str(tmp_path / "gone.onnx")], "no such model file")
        refused(capsys, [*argv, str(text)], "text.onnx")
        refused(capsys, [*argv, str(foreign)], "not a KDC model")
    checkpoint = tmp_path / "text.pt"
    checkpoint.write_text("I am no checkpoint")
    refused(capsys, ["run", source, "--model", str(checkpoint)], "text.pt")
    refused(capsys, ["export", str(checkpoint)], "text.pt")
    refused(capsys, ["export", str(tmp_path / "gone.pt")], "no such file")


@pytest.mark.parametrize("command", ["evaluate", "predict", "ablate"])
def test_bad_annotations(
    model: str, coco: tuple[str, str], tmp_path: Path, capsys, command
) -> None:
    images, good = coco
    no_json, no_images = tmp_path / "text.json", tmp_path / "no_images.json"
    no_json.write_text("I am no JSON")
    content = json.loads(Path(good).read_text())
    del content["images"]
    no_images.write_text(json.dumps(content))
    argv = [command, "--model", model, *(["--out", str(tmp_path / "o")] * (command == "predict"))]
    for folder, file, message in (
        (images, str(no_json), "text.json: not JSON"),
        (images, str(no_images), "it has no list `images`"),
        (images, str(tmp_path / "gone.json"), "no such annotation file"),
        (str(tmp_path / "gone"), good, "no such folder"),
        (str(tmp_path), good, "3 of 3 images of annotations.json are missing"),
    ):
        refused(capsys, [*argv, "--images", folder, "--annotations", file], message)


def test_oracle_evaluation_writes_figures_and_protocol(coco, tmp_path: Path, capsys) -> None:
    out, file = tmp_path / "new" / "figures.json", tmp_path / "annotations.json"
    content = json.loads(Path(coco[1]).read_text())
    content["annotations"][0]["pseudo_mask"] = True
    content["annotations"][1]["segmentation"] = []
    file.write_text(json.dumps(content))
    argv = ["evaluate", "--images", coco[0], "--annotations", str(file), "--oracle", "--json"]
    assert main([*argv, str(out), "--bootstrap", "20", "--centroid", "static"]) == 0
    figures = json.loads(out.read_text())
    assert figures["keypoints"]["AP"] >= 0.95
    assert figures["segm"]["AP"] >= 0.75
    assert {"AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100"} <= figures["segm"].keys()
    assert len(figures["segm"]["AP_95"]) == 2
    assert figures["same_person"]["share"] == 1
    protocol = figures["protocol"]
    assert protocol["annotations"] == "annotations.json"
    assert protocol["centroid"] == "static"
    assert protocol["images"] == 3
    assert protocol["people"] == 3
    assert (protocol["masks"], protocol["masks_not_drawn_by_people"]) == (2, 1)
    assert protocol["weights_sha256"] is None
    printed = capsys.readouterr().out
    assert "masks: 2, 1 of them made by a network" in printed
    assert f"{figures['segm']['AP']:.3f}" in printed
    assert "oracle" in printed


def test_a_ceiling_is_that_of_a_size_that_a_network_could_have(coco, capsys) -> None:
    argv = ["evaluate", "--images", coco[0], "--annotations", coco[1], "--oracle"]
    for pixels in ("30", "0"):
        refused(capsys, [*argv, "--long-side", pixels], f"64 to 4096 pixels, got {pixels}")


def test_evaluation_of_a_network_names_its_weights(model: str, coco, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    argv = ["evaluate", "--images", coco[0], "--annotations", coco[1], "--model", model]
    assert main([*argv, "--engine", "onnxruntime", "--limit", "2", "--json", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert figures["segm"]["AP"] == 0  # random weights
    protocol = figures["protocol"]
    assert len(protocol["weights_sha256"]) == 64
    assert protocol["weights"] == "random.onnx"
    assert protocol["engine"].startswith("onnxruntime")
    assert protocol["longest_side"] == 96
    assert protocol["images"] == 2


def test_predict_writes_coco_result_files(model: str, coco, tmp_path: Path, monkeypatch) -> None:
    from pycocotools import mask as rle

    from kdc_core.config import ModelInfo
    from kdc_lab.commands import predict
    from kdc_lab.evaluate.annotated_images import load
    from kdc_lab.evaluate.ground_truth_engine import GroundTruthEngine

    dataset = load(Path(coco[0]), Path(coco[1]))
    monkeypatch.setattr(
        predict, "engine_from", lambda args: GroundTruthEngine(dataset, ModelInfo())
    )
    out = tmp_path / "results"
    argv = ["predict", "--images", coco[0], "--annotations", coco[1], "--model", model, "--out"]
    assert main([*argv, str(out)]) == 0
    skeletons = json.loads((out / "keypoints.json").read_text())
    masks = json.loads((out / "segm.json").read_text())
    assert [entry["image_id"] for entry in skeletons] == [1, 1, 2]
    assert all(len(entry["keypoints"]) == 51 for entry in skeletons)
    assert all(entry["category_id"] == 1 and 0 < entry["score"] <= 1 for entry in masks)
    decoded = rle.decode(masks[2]["segmentation"])
    truth = two_scenes()[1].mask(0)
    assert decoded.shape == truth.shape
    assert (decoded & truth).sum() > 0.8 * (decoded | truth).sum()
    protocol = json.loads((out / "protocol.json").read_text())
    assert protocol["weights"] is None and protocol["engine"] == GroundTruthEngine.name


def test_ablate_writes_a_table(model: str, coco, tmp_path: Path, capsys) -> None:
    out = tmp_path / "ablation"
    argv = ["ablate", "--images", coco[0], "--annotations", coco[1], "--model", model]
    assert main([*argv, "--bootstrap", "5", "--out", str(out)]) == 0
    content = json.loads((out / "ablation.json").read_text())
    assert list(content["modes"]) == ["static", "single", "nearest", "weighted", "all"]
    text = (out / "ablation.md").read_text()
    assert text.startswith("| centroid ")
    assert content["protocol"]["weights_sha256"] in text
    assert text in capsys.readouterr().out


def test_bench_times_every_stage(model: str, tmp_path: Path, capsys) -> None:
    out = tmp_path / "bench.json"
    argv = ["bench", "--model", model, "--frames", "5", "--warm-up", "1", "--json", str(out)]
    assert main([*argv, "--stills"]) == 0
    stages = ["read", "network", "hough", "group", "select", "assign", "score", "total"]
    assert list(json.loads(out.read_text())["ms"]) == stages
    assert main(argv) == 0
    figures = json.loads(out.read_text())
    assert list(figures["ms"]) == [*stages[:5], "track", *stages[5:]]
    assert figures["frames"] == 5
    assert figures["frame_size"] == [640, 480]
    assert figures["fps"] > 0.5
    assert 30 < figures["peak_memory_mb"] < 10_000
    assert "fps end to end" in capsys.readouterr().out


def test_options_of_a_network_that_does_not_run_are_refused(tmp_path: Path, capsys) -> None:
    assert main(["occlusion-bench", "--engine", "torch", "--flip"]) == 2
    assert "--engine, --flip: not allowed with --fields oracle" in capsys.readouterr().err
    assert main(["occlusion-bench", "--model", "m.onnx"]) == 2
    assert "only be used with --fields network" in capsys.readouterr().err
    assert main(["evaluate", "--images", ".", "--annotations", "a.json", "--worst", "w"]) == 2
    assert "w: expected one of .jpg" in capsys.readouterr().err


def test_wrong_arguments_exit_with_2(capsys) -> None:
    for text in ("", "dance", "run", "run a.png --min-score 2", "run a.png --centroid middle",
                 "run a.png --out=", "run a.png --threads 5000",
                 "replay a --start 1e300", "synth --out a --seed 99999999999999999999",
                 "bench --json=", "bench --frames -3"):  # fmt: skip
        argv = text.split()
        with pytest.raises(SystemExit) as exit_:
            main(argv)
        assert exit_.value.code == 2
        assert capsys.readouterr().err


def test_every_command_has_help(capsys) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit) as exit_:
            main([command, "--help"])
        assert exit_.value.code == 0
        assert f"usage: kdc {command}" in capsys.readouterr().out


def test_errors_are_explained_in_one_line(tmp_path, capsys, monkeypatch) -> None:
    missing = ModuleNotFoundError("No module named 'openvino'", name="openvino.runtime")
    assert one_line(missing) == "openvino is not installed: pip install openvino"
    assert one_line(ValueError("a\n  b")) == "a b"
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100_000)
    refused(
        capsys, ["evaluate", "--images", ".", "--annotations", str(deep)], "deep.json: not JSON"
    )
    refused(capsys, ["synth", "--out", str(tmp_path / "o"), "--size", "100000", "64"], "32 to 8192")
    for error in (InputError("too large"), MemoryError("too large")):
        monkeypatch.setattr(kdc_core.cli, "_module", Mock(side_effect=error))
        refused(capsys, ["doctor"], "kdc: too large")
    for bug in (ValueError("shapes"), OverflowError("too large"), cv2.error("too large")):
        monkeypatch.setattr(kdc_core.cli, "_module", Mock(side_effect=bug))
        with pytest.raises(type(bug)):
            main(["doctor"])
    monkeypatch.undo()
    assert one_line(PermissionError(13, "Permission denied", "x.mp4")) == "x.mp4: Permission denied"
    monkeypatch.setenv("KDC_DEBUG", "1")
    with pytest.raises(ValueError, match="no such file"):
        main(["run", "gone.mp4"])


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60
    )


def test_help_needs_no_optional_package() -> None:
    done = python(
        "import sys\nfrom kdc_core.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print(sorted({'torch', 'onnxruntime', 'openvino', 'pycocotools', 'cv2'}"
        " & set(sys.modules)))"
    )
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)
    assert done.stdout.strip().endswith("[]")


def test_a_missing_package_is_one_line_with_the_command_that_installs_it() -> None:
    done = python(
        "import sys\nsys.modules['pycocotools'] = None\nfrom kdc_core.cli import main\n"
        "sys.exit(main(['evaluate', '--images', '.', '--annotations', 'a.json']))"
    )
    assert done.returncode == 2
    assert done.stderr == "kdc: pycocotools is not installed: pip install pycocotools\n"
