"""``kdc doctor``: show what is installed, which engine would be used, and how to go faster."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import kdc_core
from kdc_core.commands.arguments import add_engine
from kdc_core.commands.wiring import engine_from, weights_of
from kdc_core.cuda import install_hints
from kdc_core.engines import ENGINES, Engine, FlipEngine, choose_engine
from kdc_core.errors import InputError, one_line

if TYPE_CHECKING:
    from kdc_core.cuda import Check


@dataclass(frozen=True)
class Package:
    """A Python package that KDC can use."""

    module: str
    distribution: str  # name on PyPI
    purpose: str
    required: bool = False  # KDC does not work without it
    instructions: str = ""  # how to install it, if not with pip alone

    @property
    def install(self) -> str:
        """Return the command that installs the package."""
        return self.instructions or f"pip install {self.distribution}"


PACKAGES = (
    Package("numpy", "numpy", "arrays", required=True),
    Package("cv2", "opencv-python-headless", "images and videos", required=True),
    Package("scipy", "scipy", "tracking", required=True),
    Package("tqdm", "tqdm", "progress bars", required=True),
    Package("onnxruntime", "onnxruntime", "default engine", required=True),
    Package("openvino", "openvino", "faster engine on CPUs"),
    Package("torch", "torch", "training, export, reference engine"),
    Package("pycocotools", "pycocotools", "evaluation"),
    Package("tensorrt", "tensorrt", "engine on NVIDIA GPUs", instructions=install_hints.TENSORRT),
    Package("pycuda", "pycuda", "decoder on NVIDIA GPUs", instructions=install_hints.PYCUDA),
    Package("onnx", "onnx", "export, building TensorRT engines"),
    Package("rclpy", "ros-jazzy-rclpy", "ROS 2 node", instructions="source a ROS 2 setup"),
    Package("kdc_msgs", "kdc_msgs", "ROS 2 messages", instructions="colcon build, or make install"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kdc doctor``."""
    add_engine(parser)


def main(args: argparse.Namespace) -> int:
    """Print the findings. Return 1 if KDC cannot run, else 0."""
    from kdc_core.cuda import gpu_checks

    system = f"Python {platform.python_version()}, {platform.platform()}"
    ros = os.environ.get("ROS_DISTRO") or "not sourced"
    print(f"kdc {kdc_core.__version__}, {system}")
    print(f"{os.cpu_count()} CPU cores; {nvidia_gpus()}; ROS 2: {ros}")
    healthy = report_packages(PACKAGES)
    checks = list(gpu_checks())
    report_gpu(checks)
    healthy &= report_engine(args, checks)
    return 0 if healthy else 1


def report_packages(packages: Sequence[Package]) -> bool:
    """Print one line per package. Return False if a required package is missing or broken."""
    print("\nPackages")
    complete = True
    for package in packages:
        version, problem = package_version(package)
        state = version or ("broken" if problem else "missing")
        remedy = "" if version else f"; to install: {package.install}"
        mark = "ok" if version else "--"
        print(f"  {mark}  {package.module:12} {state:12} {package.purpose}{remedy}")
        if problem:
            print(f"      {problem}")
        complete &= bool(version) or not package.required
    return complete


def package_version(package: Package) -> tuple[str, str]:
    """Return (version, problem) of a package.

    The version is empty if the package cannot be imported. The problem is empty unless the package
    is installed and fails to import.
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


def nvidia_gpus() -> str:
    """Return name, driver and memory of the NVIDIA GPUs as nvidia-smi reports them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "no NVIDIA driver"
    query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvidia-smi failed: {one_line(error)}"
    found = [", driver ".join(line.split(", ", 1)) for line in done.stdout.strip().splitlines()]
    return "; ".join(found) or "no NVIDIA GPU"


def report_gpu(checks: Sequence[Check]) -> None:
    """Print the requirements of the GPU engine, up to the first that is not met."""
    print(f"\nGPU engine: {'available' if checks[-1].ok else 'not available, the CPU is used'}")
    for check in checks:
        print(f"  {'ok' if check.ok else '--'}  {check.name:12} {check.detail}")


def report_engine(args: argparse.Namespace, checks: Sequence[Check]) -> bool:
    """Open and print the engine that ``kdc run`` would use. Return False if none can be opened."""
    print("\nEngine that `kdc run` uses with these arguments")
    try:
        engine = engine_from(args)
    except (InputError, OSError, ImportError) as error:
        model = weights_of(args)
        print(f"  engine:   none: {one_line(error)}")
        print(f"  weights:  {model}{'' if model.is_file() else ' (missing)'}")
        return False
    info = engine.info
    print(f"  engine:   {engine.name} ({_reason(args, engine)})")
    print(f"  weights:  {engine.model}")
    print(
        f"  network:  preset {info.preset}, backbone {info.backbone}, "
        f"longest side {info.longest} pixels, {info.octaves} octaves"
    )
    for hint in speed_hints(_name_of(engine), checks):
        print(f"  faster:   {hint}")
    engine.close()
    return True


def speed_hints(engine: str, checks: Sequence[Check]) -> list[str]:
    """Return what to install for a faster engine than ``engine``, best first.

    Args:
        engine: a key of ``ENGINES``.
        checks: results of ``gpu_checks``.
    """
    if engine == "tensorrt":
        return []
    hints = []
    last = checks[-1]
    if last.ok:
        hints.append("use --engine auto or tensorrt: the GPU engine is available")
    elif last.name not in ("driver", "GPU"):
        hints.append(f"this machine has a GPU; to use it, mend {last.name}: {last.detail}")
    if engine != "openvino":
        if importlib.util.find_spec("openvino") is None:
            hints.append(f"{ENGINES['openvino'][1]} (a faster engine on CPUs)")
        elif engine == "onnxruntime":
            hints.append("use --engine auto or openvino, which is faster on CPUs")
    return hints


def _name_of(engine: Engine) -> str:
    """Return the key of ``ENGINES`` of an engine, ignoring the flip test around it."""
    opened = engine.engine if isinstance(engine, FlipEngine) else engine
    return next(name for name, (kind, _) in ENGINES.items() if kind == type(opened).__name__)


def _reason(args: argparse.Namespace, engine: Engine) -> str:
    if args.engine != "auto":
        return "requested with --engine"
    name, reason = choose_engine(args.model)
    if _name_of(engine) != name:
        return f"auto: {name} could not be opened, see above"
    # the obstacle to a GPU engine is shown above
    return f"auto: {reason.partition('; no GPU engine')[0]}"
