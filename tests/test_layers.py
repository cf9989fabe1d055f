"""Check the structure: imports point one way, and folders are entered by their ``__init__``."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: A module may import its own line and the lines above it. ``kdc_ros`` may import all of them.
ORDER = """
    kdc_core kdc_core.errors kdc_core.geometry kdc_core.labels kdc_core.lazy kdc_core.topics
    kdc_core.letterbox
    kdc_core.skeleton
    kdc_core.config
    kdc_core.types
    kdc_core.depth kdc_core.person_rows
    kdc_core.system
    kdc_core.io
    kdc_core.decode
    kdc_core.track
    kdc_core.network
    kdc_core.cuda
    kdc_core.engines
    kdc_core.pipeline
    kdc_core.session
    kdc_core.api
    kdc_core.cli
    kdc_core.commands
    kdc_lab
    kdc_lab.convert
    kdc_lab.synth
    kdc_lab.training
    kdc_lab.evaluate
    kdc_lab.replay
    kdc_lab.commands
    tools
"""
RANK = {part: rank for rank, line in enumerate(ORDER.split("\n")) for part in line.split()}
ROS = {"ament_index_python", "kdc_msgs", "kdc_ros", "launch", "launch_ros", "rclpy", "rosbag2_py"}
#: packages that must not be imported before they are needed
OPTIONAL = {
    "anny",
    "onnx",
    "onnxruntime",
    "openvino",
    "pycocotools",
    "pycuda",
    "rclpy",
    "supervision",
    "tensorboard",
    "tensorrt",
    "torch",
    "warp",
}
#: folders whose modules are programs of their own and export nothing
PROGRAMS = {"kdc_core.commands", "kdc_lab.commands", "tools.gpu_check"}


def modules(*tops: str) -> dict[str, Path]:
    found = {}
    for top in tops:
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


LIBRARY = modules("kdc_core", "kdc_lab", "tools")
MODULES = LIBRARY | modules("kdc_ros")


def imports(path: Path, lazy: bool = True) -> Iterator[str]:
    """Yield full names of what a file imports at run time.

    Imports under ``if TYPE_CHECKING`` do not count. With ``lazy`` those inside functions do.
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
    """Return the line of ``ORDER`` of a module, or of the package around it."""
    part = module
    while part not in RANK and "." in part.partition(".")[2]:
        part = part.rpartition(".")[0]
    if part not in RANK and part.startswith("tools."):
        part = "tools"
    assert part in RANK, f"{module}: give it a place in ORDER"
    return RANK[part]


def folder(module: str) -> str:
    """Return the package that contains a module; a package contains itself."""
    is_package = MODULES[module].name == "__init__.py"
    return module if is_package else module.rpartition(".")[0]


@pytest.mark.parametrize("module", LIBRARY)
def test_imports_point_down(module: str) -> None:
    """Imports inside functions count as well."""
    names = set(imports(LIBRARY[module]))
    ours = {name for name in names if name.partition(".")[0] in ("kdc_core", "kdc_lab", "tools")}
    later = [name for name in ours if rank(name) > rank(module)]
    assert not later, f"{module} imports {', '.join(sorted(later))}: that comes later"
    assert not ROS & {name.split(".")[0] for name in names}, f"{module} imports ROS"


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("kdc_lab")])
def test_the_runtime_never_imports_the_lab(module: str) -> None:
    if module.startswith("tools"):
        return
    assert not [name for name in imports(MODULES[module]) if name.startswith(("kdc_lab", "tools"))]


def test_no_circle() -> None:
    graph = {
        name: MODULES.keys() & set(imports(path, lazy=False)) - {name}
        for name, path in MODULES.items()
    }
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


def test_no_two_folders_import_each_other() -> None:
    """Imports inside functions count as well."""
    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        targets = {folder(n) for n in imports(path) if n in MODULES}
        graph.setdefault(folder(name), set()).update(targets - {folder(name)})
    roots = {"kdc_core", "kdc_lab", "kdc_ros", "tools"}  # their modules have a line each in ORDER
    for root in roots & graph.keys():
        del graph[root]
    graph = {name: targets - roots for name, targets in graph.items()}
    assert list(TopologicalSorter(graph).static_order())


def deep_imports(module: str) -> list[str]:
    """Return imports that enter another folder by one of its modules instead of ``__init__``."""
    own, found = folder(module), []
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name not in MODULES or folder(name) == name:
                continue
            inside = folder(name)
            if inside == own or own.startswith(f"{inside}.") or "." not in inside:
                continue
            if inside in PROGRAMS and own in PROGRAMS:
                continue
            found.append(name)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_folders_are_entered_by_their_init(module: str) -> None:
    assert not deep_imports(module), f"{module}: import these names from the folder"


@pytest.mark.parametrize("package", [name for name in LIBRARY if folder(name) == name])
def test_exports_exist(package: str) -> None:
    """``__all__`` agrees with the imports that type checkers see."""
    tree = ast.parse(LIBRARY[package].read_text(encoding="utf-8"))
    typed = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(package)
        for alias in node.names
    } - {"lazy_exports"}
    code = f"import {package} as p; print(*sorted(getattr(p, '__all__', [])))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) - {"__version__"} == typed


def test_no_two_modules_share_a_name() -> None:
    names = [m.rpartition(".")[2] for m in MODULES if folder(m) != m and folder(m) not in PROGRAMS]
    assert not [name for name, count in Counter(names).items() if count > 1]


def test_the_order_names_only_what_exists() -> None:
    assert set(RANK) <= MODULES.keys()


def test_a_back_edge_is_found(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "if TYPE_CHECKING:\n    from kdc_core.engines import Engine\n"
        "import kdc_core.types\n"
        "def f():\n    from kdc_core.decode import hough, assign\n    import rclpy.node\n"
    )
    lazy = {"kdc_core.decode.hough", "kdc_core.decode.assign", "rclpy.node"}
    assert set(imports(path)) == {"kdc_core.types", *lazy}
    assert set(imports(path, lazy=False)) == {"kdc_core.types"}
    assert rank("kdc_core.decode.assign") == rank("kdc_core.decode") > rank("kdc_core.types")
    assert rank("kdc_lab.training.train") == rank("kdc_lab.training") > rank("kdc_core.cli")
    with pytest.raises(AssertionError, match=r"kdc_core\.novelty: give it a place"):
        rank("kdc_core.novelty")


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh Python has loaded after running ``code``."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_kdc_core_loads_nothing_but_itself() -> None:
    assert not loaded_after("import kdc_core, kdc_core.cli") & {"numpy", "cv2", *OPTIONAL}


def test_importing_kdc_core_takes_less_than_300_ms() -> None:
    code = "import time; t = time.perf_counter(); import kdc_core; print(time.perf_counter() - t)"
    took = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT).stdout)
        for _ in range(3)
    ]
    assert min(took) < 0.3


def test_the_core_loads_no_optional_package() -> None:
    """Neither torch nor CUDA, nor an inference engine before one is opened."""
    core = [
        name
        for name in MODULES
        if name.startswith("kdc_core") and rank(name) <= RANK["kdc_core.track"]
    ]
    core += ["kdc_core.engines", "kdc_core.pipeline"]
    loaded = loaded_after("\n".join(f"import {name}" for name in core))
    assert "numpy" in loaded
    assert not loaded & OPTIONAL


def test_the_commands_start_without_any_extra() -> None:
    block = f"import sys\nfor name in {sorted(OPTIONAL)}: sys.modules[name] = None\n"
    commands = [n for n in MODULES if n.startswith(("kdc_core.commands.", "kdc_lab.commands."))]
    assert len(commands) >= 8
    loaded_after(block + "\n".join(f"import {name}" for name in commands))


HELPERS = {
    path.stem
    for path in (ROOT / "tests").rglob("*.py")
    if not path.stem.startswith(("test_", "conftest"))
}


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda p: p.stem)
def test_helpers_are_imported_from_the_package_tests(path: Path) -> None:
    """Under two names a helper would be loaded twice."""
    tops = {name.partition(".")[0] for name in imports(path)}
    assert not tops & HELPERS, f"{path.name}: import tests.{{{', '.join(tops & HELPERS)}}}"
