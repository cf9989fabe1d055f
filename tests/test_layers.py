"""Imports point one way: from what computes first to what uses it, and never to ROS."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: a module may import its own line and those above it; kdc_ros may import all of them
ORDER = """
    kdc_core
    kdc_core.cpu kdc_core.letterbox
    kdc_core.skeleton
    kdc_core.config
    kdc_core.types
    kdc_core.processes kdc_core.interrupt
    kdc_core.annotations kdc_core.source kdc_core.draw kdc_core.images kdc_core.depth
    kdc_core.sink
    kdc_core.decode.sample
    kdc_core.decode.hough
    kdc_core.decode.place
    kdc_core.decode.group
    kdc_core.decode.centroid
    kdc_core.decode.paint
    kdc_core.decode.assign
    kdc_core.decode.score
    kdc_core.decode
    kdc_core.track
    kdc_core.network
    kdc_core.engines kdc_core.cuda kdc_core.pipeline
    kdc_core.synth
    kdc_core.training
    kdc_core.evaluate
    kdc_core.replay
    kdc_core.synth.record
    kdc_core.cli
    kdc_core.commands
"""
RANK = {part: rank for rank, line in enumerate(ORDER.split("\n")) for part in line.split()}
ROS = {"ament_index_python", "kdc_msgs", "kdc_ros", "launch", "launch_ros", "rclpy", "rosbag2_py"}
OPTIONAL = {
    "anny", "cupy", "onnx", "onnxruntime", "openvino", "pycocotools", "pycuda", "rclpy",
    "tensorboard", "tensorrt", "torch", "warp",
}  # fmt: skip


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((ROOT / "kdc_core").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path: Path, lazy: bool = True) -> Iterator[str]:
    """Full names of what a file imports, but for type checking alone.

    ``lazy``: in functions as well, that is, not before they are called.
    """
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef) and not lazy:
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else str(node.module) for name in names)


def rank(module: str) -> int:
    """Line of ``ORDER`` that a module belongs to: its own, or that of the package around it."""
    part = module
    while part not in RANK and part.count(".") > 1:
        part = part.rpartition(".")[0]
    assert part in RANK, f"{module}: give it a place in ORDER"
    return RANK[part]


@pytest.mark.parametrize("module", MODULES)
def test_no_back_edge(module: str) -> None:
    names = set(imports(MODULES[module]))
    later = [n for n in names if n.split(".")[0] == "kdc_core" and rank(n) > rank(module)]
    assert not later, f"{module} imports {', '.join(sorted(later))}: that comes later"
    assert not ROS & {name.split(".")[0] for name in names}, f"{module} imports ROS"


def test_no_circle() -> None:
    graph = {name: MODULES.keys() & set(imports(path, lazy=False)) - {name}
             for name, path in MODULES.items()}  # fmt: skip
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


def test_the_order_names_only_what_exists() -> None:
    assert set(RANK) <= MODULES.keys()


def test_a_back_edge_is_found(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "if TYPE_CHECKING:\n    from kdc_core.pipeline import Engine\n"
        "import kdc_core.types\n"
        "def f():\n    from kdc_core.decode import hough, assign\n    import rclpy.node\n"
    )
    lazy = {"kdc_core.decode.hough", "kdc_core.decode.assign", "rclpy.node"}
    assert set(imports(path)) == {"kdc_core.types", *lazy}
    assert set(imports(path, lazy=False)) == {"kdc_core.types"}
    assert rank("kdc_core.decode.assign") > rank("kdc_core.decode.hough") > rank("kdc_core.types")
    assert rank("kdc_core.training.train") == rank("kdc_core.training") > rank("kdc_core")
    with pytest.raises(AssertionError, match=r"kdc_core\.novelty: give it a place"):
        rank("kdc_core.novelty")


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh Python has loaded after running ``code``."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_kdc_core_loads_nothing_but_itself() -> None:
    assert not loaded_after("import kdc_core, kdc_core.cli") & {"numpy", "cv2", *OPTIONAL}


def test_the_core_loads_no_optional_package() -> None:
    """Neither torch nor CUDA, nor an inference engine before one is opened."""
    core = [name for name in MODULES if rank(name) <= rank("kdc_core.track")]
    core += ["kdc_core.engines", "kdc_core.pipeline"]
    loaded = loaded_after("\n".join(f"import {name}" for name in core))
    assert "numpy" in loaded
    assert not loaded & OPTIONAL


def test_the_commands_start_without_any_extra() -> None:
    block = f"import sys\nfor name in {sorted(OPTIONAL)}: sys.modules[name] = None\n"
    commands = [name for name in MODULES if name.startswith("kdc_core.commands.")]
    assert len(commands) >= 8
    loaded_after(block + "\n".join(f"import {name}" for name in commands))
