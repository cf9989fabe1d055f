"""hri_msgs, vision_msgs and tf2_msgs: where they are not installed, stand-ins are built from
``interfaces/``, which has the messages that KDC publishes with the same fields and names.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "interfaces"
PACKAGES = ("hri_msgs", "vision_msgs", "tf2_msgs")


def provide() -> dict[str, str]:
    """Make the packages importable here.

    Returns:
        Environment of a process that shall find them, too.
    """
    if all(importlib.util.find_spec(name) for name in PACKAGES):
        return {}
    if not (shutil.which("cmake") and shutil.which("c++")):
        pytest.skip("hri_msgs, vision_msgs, tf2_msgs: neither installed nor a compiler for them")
    prefix = BUILD / "install"
    _build(prefix)
    site = next(prefix.rglob("hri_msgs/__init__.py")).parents[1]
    for library in sorted((prefix / "lib").glob("lib*_c.so")):
        ctypes.CDLL(str(library))  # the linker's path cannot be changed in a running process
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()
    return {
        "PYTHONPATH": f"{site}{os.pathsep}{HERE.parents[1]}",
        "LD_LIBRARY_PATH": f"{prefix / 'lib'}:{os.environ.get('LD_LIBRARY_PATH', '')}",
        "AMENT_PREFIX_PATH": f"{prefix}:{os.environ.get('AMENT_PREFIX_PATH', '')}",
    }


def _build(prefix: Path) -> None:
    """Half a minute the first time, seconds when nothing has changed."""
    venv = Path(sys.prefix)
    environment = {**os.environ, "VIRTUAL_ENV": str(venv)}
    environment["PATH"] = f"{venv / 'bin'}:{os.environ['PATH']}"
    for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"):
        environment[name] = ":".join(filter(None, [str(venv), os.environ.get(name)]))
    for name in PACKAGES:
        folder = BUILD / name
        steps = (
            [
                "cmake",
                "-S",
                HERE / "interfaces" / name,
                "-B",
                folder,
                "-DBUILD_TESTING=OFF",
                f"-DCMAKE_INSTALL_PREFIX={prefix}",
                f"-DCMAKE_INSTALL_RPATH={prefix / 'lib'}",
                "-DCMAKE_INSTALL_RPATH_USE_LINK_PATH=ON",
                "-DPython3_FIND_VIRTUALENV=ONLY",
                "-DCMAKE_C_FLAGS=-O0",
                "-DCMAKE_CXX_FLAGS=-O0",
            ],
            ["cmake", "--build", folder, "--target", "install", "--parallel", str(os.cpu_count())],
        )
        for step in steps:
            done = subprocess.run(step, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{name}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
