"""A wrong input is one line with exit code 2; a bug keeps its traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from kdc_core.cli import main
from kdc_core.errors import OPTIONAL_PACKAGES, InputError, is_user_error, one_line

ROOT = Path(__file__).parents[1]
BUG = r"operands could not be broadcast together with shapes \(3,\) \(4,\)"


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.full((48, 64, 3), 90, np.uint8))
    return str(path)


def test_cli_bug_in_the_decoder_keeps_its_traceback(image: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr("kdc_core.decode.score.expected", lambda *_: np.zeros(3) + np.zeros(4))
    with pytest.raises(ValueError, match=BUG) as caught:
        main(["run", image, "--engine", "onnxruntime", "--long-side", "64"])
    assert not isinstance(caught.value, InputError)
    assert "kdc: " not in capsys.readouterr().err


def kdc(*arguments: str, plant: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``kdc`` as a program, after the line of code ``plant``."""
    code = (
        f"import sys\nimport numpy as np\nimport kdc_core.decode.score as score\n{plant}\n"
        "from kdc_core.cli import main\nsys.exit(main())"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )


def test_kdc_program_shows_a_bug_and_hides_no_user_error(image: str, tmp_path: Path) -> None:
    options = ("--engine", "onnxruntime", "--long-side", "64")
    plant = "score.expected = lambda *_: np.zeros(3) + np.zeros(4)"
    bug = kdc("run", image, *options, plant=plant)
    assert bug.returncode == 1
    assert "Traceback (most recent call last)" in bug.stderr
    assert "could not be broadcast together with shapes (3,) (4,)" in bug.stderr
    assert "kdc: " not in bug.stderr
    wrong = tmp_path / "wrong.png"
    wrong.write_text("not an image")
    refused = kdc("run", str(wrong), *options, plant=plant)
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stderr.startswith(f"kdc: {wrong}: not a readable ")
    assert kdc("run", image, *options).returncode == 0


@pytest.mark.parametrize(
    ("error", "user", "line"),
    [
        (InputError("a\n  b"), True, "a b"),
        (InputError(), True, "InputError"),
        (PermissionError(13, "Permission denied", "x.mp4"), True, "x.mp4: Permission denied"),
        (OSError("no space"), True, "no space"),
        (MemoryError(), True, "MemoryError"),
        (
            ModuleNotFoundError("No module named 'openvino'", name="openvino.runtime"),
            True,
            "openvino is not installed: pip install openvino",
        ),
        (
            ModuleNotFoundError("No module named 'warp'", name="warp"),
            True,
            "warp is not installed: pip install warp-lang",
        ),
        (
            ModuleNotFoundError("No module named 'kdc_core.x'", name="kdc_core.x"),
            False,
            "module kdc_core.x is not installed",
        ),
        (ModuleNotFoundError("odd"), False, "odd"),
        (ImportError("cannot import name 'x'"), False, "cannot import name 'x'"),
        (ValueError("shapes"), False, "shapes"),
        (AssertionError(), False, "AssertionError"),
        (OverflowError("too large"), False, "too large"),
        (KeyError("name"), False, "'name'"),
        (cv2.error("bad"), False, "bad"),
    ],
)
def test_is_user_error_and_one_line(error: Exception, user: bool, line: str) -> None:
    assert is_user_error(error) is user
    assert one_line(error) == line


def test_optional_packages_are_the_extras() -> None:
    setup = (ROOT / "setup.py").read_text("utf-8")
    for module, package in OPTIONAL_PACKAGES.items():
        name = package.strip("'").partition("[")[0].partition("'")[0]
        assert name in setup or name in ("tensorrt",), f"{module}: no extra installs {name}"
