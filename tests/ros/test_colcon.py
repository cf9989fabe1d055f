"""``colcon build`` of both packages, and what ``ros2 run`` and ``ros2 launch`` look for.

colcon comes from PyPI: installed beside this Python, or with ``pip install --target DIR`` and
KDC_COLCON=DIR (``make soak`` does that), because it brings packages that nothing else needs.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXECUTABLES = ("kdc_node", "kdc_camera", "kdc_record")
COLCON = "from colcon_core.command import main; import sys; sys.exit(main())"
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """(install folder, environment of its setup file) of a workspace built from a copy."""
    target = os.environ.get("KDC_COLCON", "")
    if not target and importlib.util.find_spec("colcon_core") is None:
        pytest.skip("colcon is not installed: make soak, or KDC_COLCON=DIR of pip install --target")
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed")
    folder = tmp_path_factory.mktemp("workspace")
    source = folder / "src"
    shutil.copytree(ROOT, source, ignore=_not_sources, symlinks=True)
    environment = {
        **os.environ,
        "PYTHONPATH": target,
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
        "COLCON_HOME": str(folder / "colcon"),
        "VIRTUAL_ENV": sys.prefix,
    }
    for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"):
        environment[name] = ":".join(filter(None, [sys.prefix, os.environ.get(name)]))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            COLCON,
            "--log-base",
            folder / "log",
            "build",
            "--base-paths",
            source,
            source / "kdc_msgs",
            "--build-base",
            folder / "build",
            "--install-base",
            folder / "install",
            "--executor",
            "sequential",
            "--cmake-args",
            "-DBUILD_TESTING=OFF",
            "-DPython3_FIND_VIRTUALENV=ONLY",
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=350,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("Finished <<<") == 2
    return folder / "install", _sourced(folder / "install", environment)


def _not_sources(folder: str, names: list[str]) -> set[str]:
    generated = {".venv", ".git", "build", "install", "log", "out", "runs", "shared", ".hypothesis"}
    caches = ("_cache", ".egg-info", "__pycache__")
    return {name for name in names if name in generated or name.endswith(caches)}


def _sourced(install: Path, environment: dict[str, str]) -> dict[str, str]:
    clean = {k: v for k, v in environment.items() if k != "PYTHONPATH"}
    printed = subprocess.run(
        ["bash", "-c", f'source "{install}/local_setup.bash" && env -0'],
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(entry.split("=", 1) for entry in printed.split("\0") if "=" in entry)


def test_colcon_installs_index_share_and_executables(workspace):
    install, _ = workspace
    for name in ("kdc_ros", "kdc_msgs"):
        share = install / name / "share"
        assert (share / "ament_index" / "resource_index" / "packages" / name).is_file()
        assert (share / name / "package.xml").is_file()
    for path in (
        "launch/camera.launch.py",
        "config/params.yaml",
        "config/fastdds_shm.xml",
        "config/kdc.rviz",
    ):
        assert (install / "kdc_ros" / "share" / "kdc_ros" / path).is_file()
    for name in EXECUTABLES:
        path = install / "kdc_ros" / "lib" / "kdc_ros" / name
        assert os.access(path, os.X_OK), name


def test_colcon_packages_are_imported_from_the_workspace(workspace, tmp_path):
    install, environment = workspace
    script = (
        "import kdc_msgs.msg, kdc_core, kdc_ros.node\n"
        "from ament_index_python.packages import get_package_prefix as prefix\n"
        "from kdc_core.engines import default_model\n"
        "from kdc_ros.environment import config_file\n"
        "kdc_msgs.msg.PersonArray(people=[kdc_msgs.msg.Person()])\n"
        "for one in (kdc_msgs.__file__, kdc_core.__file__, prefix('kdc_ros'), prefix('kdc_msgs'),\n"
        "            config_file('params.yaml'), default_model()):\n"
        "    print(one)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 6 and all(line.startswith(str(install)) for line in lines), lines


@pytest.mark.parametrize("name", EXECUTABLES)
def test_colcon_executables_run(workspace, tmp_path, name):
    install, environment = workspace
    wrong = {
        "kdc_node": "min_score:=7.0",
        "kdc_camera": "source:=/none",
        "kdc_record": "out:=x.txt",
    }
    done = subprocess.run(
        [install / "kdc_ros" / "lib" / "kdc_ros" / name, "--ros-args", "-p", wrong[name]],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) <= 2
