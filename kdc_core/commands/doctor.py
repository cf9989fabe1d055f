"""``kdc doctor``: check the installation and show which engine would be used."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass

import kdc_core
from kdc_core.commands.arguments import add_engine
from kdc_core.commands.wiring import engine_from, weights_of
from kdc_core.cuda import install_hints
from kdc_core.engines import ENGINES, Engine, FlipEngine, choose_engine
from kdc_core.errors import InputError, one_line


@dataclass(frozen=True)
class Package:
    """A package that KDC uses."""

    module: str
    distribution: str  # its name on PyPI
    purpose: str
    base: bool = False  # required
    comes_with: str = ""  # how to install it, if pip alone does not do

    @property
    def install(self) -> str:
        """The command that installs it."""
        return self.comes_with or f"pip install {self.distribution}"


PACKAGES = (
    Package("numpy", "numpy", "arrays", base=True),
    Package("cv2", "opencv-python-headless", "images and videos", base=True),
    Package("scipy", "scipy", "tracking", base=True),
    Package("tqdm", "tqdm", "progress bars", base=True),
    Package("onnxruntime", "onnxruntime", "default engine", base=True),
    Package("openvino", "openvino", "faster engine on CPUs"),
    Package("torch", "torch", "training, export, reference engine"),
    Package("pycocotools", "pycocotools", "evaluation"),
    Package("tensorrt", "tensorrt", "engine on NVIDIA GPUs", comes_with=install_hints.TENSORRT),
    Package("pycuda", "pycuda", "decoder on NVIDIA GPUs", comes_with=install_hints.PYCUDA),
    Package("onnx", "onnx", "export, and building TensorRT engines"),
    Package("rclpy", "ros-jazzy-rclpy", "ROS 2 node", comes_with="source a ROS 2 setup"),
    Package("kdc_msgs", "kdc_msgs", "ROS 2 messages of KDC", comes_with="colcon build, or make"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kdc doctor``."""
    add_engine(parser)


def main(args: argparse.Namespace) -> int:
    """Print the findings; return 1 if KDC cannot run."""
    print(f"kdc {kdc_core.__version__}, Python {platform.python_version()}, {platform.platform()}")
    print(f"{os.cpu_count()} CPU cores; {gpu()}; ROS 2: {os.environ.get('ROS_DISTRO') or 'none'}\n")
    missing = []
    for package in PACKAGES:
        version, reason = probe(package)
        state = version or ("missing" if not reason else "broken")
        print(f"  {'ok' if version else '--'}  {package.module:12} {state:12} {package.purpose}")
        if reason:
            print(f"      {reason}")
        if not version:
            missing.append(package)
    healthy = not any(package.base for package in missing)
    _report_gpu()
    healthy &= _report_engine(args)
    if missing:
        print("\nto install the missing packages:")
    for package in missing:
        print(f"  {package.module:12} {package.install}")
    return 0 if healthy else 1


def probe(package: Package) -> tuple[str, str]:
    """Return the version of a package, and why it fails to import.

    The version is empty if the package is missing or broken, the reason if it is missing or works.
    """
    try:
        module = importlib.import_module(package.module)
    except ModuleNotFoundError as error:
        absent = (error.name or "").partition(".")[0] == package.module
        return "", "" if absent else str(error)
    except Exception as error:  # a broken installation may raise anything
        return "", f"{type(error).__name__}: {one_line(error)}"[:200]
    try:
        version = importlib.metadata.version(package.distribution)
    except importlib.metadata.PackageNotFoundError:  # e.g. Debian's OpenCV, a sourced ROS 2
        version = getattr(module, "__version__", "installed")
    return str(version), ""


def gpu() -> str:
    """Return the names of the NVIDIA GPUs and the version of the driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "no NVIDIA driver"
    query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvidia-smi fails: {one_line(error)}"
    found = [", driver ".join(line.split(", ", 1)) for line in done.stdout.strip().splitlines()]
    return "; ".join(found) or "no NVIDIA GPU"


def _report_engine(args: argparse.Namespace) -> bool:
    """Open the engine that a run would use; return False if there is none."""
    try:
        engine = engine_from(args)
    except (InputError, OSError, ImportError) as error:
        model = weights_of(args)
        print(f"weights: {model}{'' if model.is_file() else ' (missing)'}")
        print(f"engine:  none: {one_line(error)}")
        return False
    info = engine.info
    print(f"weights: {engine.model}")
    print(f"engine:  {engine.name} ({_reason(args, engine)})")
    print(
        f"network: {info.preset}, {info.backbone}, longest side {info.longest}, "
        f"octaves {info.octaves}, "
        f"stride {info.stride}, masks at stride {info.seg_stride}"
    )
    engine.close()
    return True


def _reason(args: argparse.Namespace, engine: Engine) -> str:
    if args.engine != "auto":
        return "chosen by --engine"
    name, reason = choose_engine(args.model)
    opened = engine.engine if isinstance(engine, FlipEngine) else engine
    if type(opened).__name__ != ENGINES[name][0]:
        return f"auto: {name} could not be opened, see above"
    return f"auto: {reason}"


def _report_gpu() -> None:
    """Print what the GPU path needs, up to the first thing that is missing."""
    from kdc_core.cuda import gpu_checks

    print("\nGPU path, step by step:")
    checks = list(gpu_checks())
    for check in checks:
        print(f"  {'ok' if check.ok else '--'}  {check.what:12} {check.detail}")
    used = "the GPU can be used" if checks[-1].ok else "the GPU is not used, the CPU is"
    print(f"      {used}\n")
