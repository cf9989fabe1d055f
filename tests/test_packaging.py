"""What ``pip install .`` brings: both packages, data files, executables, the command."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("wheel")
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", out,
         "build", "--build-base", out / "build", "bdist_wheel", "--bdist-dir", out / "tree",
         "--dist-dir", out],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
        yield archive


def test_both_packages_and_the_weights_are_in_it(wheel):
    names = set(wheel.namelist())
    for folder in ("kdc_core", "kdc_ros"):
        for path in (ROOT / folder).rglob("*.py"):
            assert str(path.relative_to(ROOT)) in names
    for pattern in ("weights/*.onnx", "weights/*.md", "cuda/*.cu", "replay/msg/*.msg"):
        for path in (ROOT / "kdc_core").glob(pattern):
            assert str(path.relative_to(ROOT)) in names


def test_ros_finds_package_executables_launch_files_and_config(wheel):
    data = {name.partition(".data/data/")[2]: name for name in wheel.namelist()}
    assert "share/ament_index/resource_index/packages/kdc_ros" in data
    assert "share/kdc_ros/package.xml" in data
    for name in (
        "launch/camera.launch.py",
        "launch/replay.launch.py",
        "config/params.yaml",
        "config/fastdds_shm.xml",
    ):
        assert f"share/kdc_ros/{name}" in data
    for name in ("kdc_node", "kdc_camera", "kdc_record"):
        mode = wheel.getinfo(data[f"lib/kdc_ros/{name}"]).external_attr >> 16
        assert mode & 0o111, name


def test_the_command_is_installed(wheel):
    name = next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    assert "kdc = kdc_core.cli:main" in wheel.read(name).decode()


def test_tests_and_tools_are_not_shipped(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.startswith("kdc_ros-")} == {"kdc_core", "kdc_ros"}
