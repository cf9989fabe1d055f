"""Helpers of the GPU tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdc_core.cuda import compiler

ROOT = Path(__file__).parents[2]


def run_python(
    arguments: list[str], libcuda: Path | None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with the folder of a fake driver first on the loader's path."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    if libcuda:
        env |= {"LD_LIBRARY_PATH": str(libcuda), "XDG_CACHE_HOME": str(libcuda)}
    return subprocess.run(
        [sys.executable, *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def without_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide nvcc and NVRTC."""

    def no_library(name: str, mode: int = 0) -> None:
        raise OSError(name)

    monkeypatch.setattr(compiler.shutil, "which", lambda name: None)
    monkeypatch.setattr(compiler.os.path, "exists", lambda path: False)
    monkeypatch.setattr(compiler, "find_spec", lambda name: None)
    monkeypatch.setattr(compiler.ctypes, "CDLL", no_library)


def kdc(
    libcuda: Path, engine_folder: Path, *words: object, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a ``kdc`` command over the fake driver and the fake TensorRT."""
    script = str(Path(__file__).with_name("drive_cli.py"))
    environment = {"KDC_ENGINES": str(engine_folder), **environment}
    return run_python([script, *map(str, words)], libcuda, **environment)
