"""Check the wheel: packages, data files, executables, the command, metadata; and the versions."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kdc_core import __version__

ROOT = Path(__file__).parents[1]
PACKAGES = ("kdc_core", "kdc_lab", "kdc_ros")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("wheel")
    out = tmp_path_factory.mktemp("wheel")
    command = ["setup.py", "-q", "egg_info", "--egg-base", out]
    command += ["build", "--build-base", out / "build"]
    command += ["bdist_wheel", "--bdist-dir", out / "tree", "--dist-dir", out]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
        yield archive


def test_wheel_has_all_modules_and_data(wheel):
    names = set(wheel.namelist())
    for folder in PACKAGES:
        for path in (ROOT / folder).rglob("*.py"):
            assert str(path.relative_to(ROOT)) in names
    for pattern in (
        "kdc_core/weights/*.onnx",
        "kdc_core/weights/*.md",
        "kdc_core/cuda/*.cu",
        "kdc_core/py.typed",
        "kdc_lab/replay/msg/*.msg",
    ):
        paths = list(ROOT.glob(pattern))
        assert paths, pattern
        for path in paths:
            assert str(path.relative_to(ROOT)) in names


def test_wheel_has_metadata_that_describes_it(wheel):
    name = next(n for n in wheel.namelist() if n.endswith("METADATA"))
    metadata = message_from_bytes(wheel.read(name))
    assert metadata["Name"].replace("-", "_") == "kdc_ros"
    assert metadata["Version"] == __version__
    assert metadata["Summary"]
    assert "segmentation" in metadata["Keywords"]
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().startswith("# KDC")


def test_wheel_has_what_ros_looks_for(wheel):
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


def test_wheel_installs_the_command(wheel):
    name = next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    assert "kdc = kdc_core.cli:main" in wheel.read(name).decode()


def test_wheel_has_no_tests_and_tools(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.startswith("kdc_ros-")} == set(PACKAGES)


@pytest.mark.parametrize("folder", [".", "kdc_msgs"])
def test_package_xml_has_the_version(folder):
    package = ElementTree.parse(ROOT / folder / "package.xml").getroot()
    assert package.findtext("version") == __version__


def test_citation_has_the_version():
    text = (ROOT / "CITATION.cff").read_text("utf-8")
    assert re.findall(r"^version: (.*)$", text, re.MULTILINE) == [__version__]


def test_changelog_has_the_version_and_what_is_unreleased():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert versions[:2] == ["Unreleased", __version__]
