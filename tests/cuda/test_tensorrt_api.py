"""Every TensorRT name that trt_build and the engine use exists in TensorRT 8, 10, 11 and RTX.

The bindings are real wheels of 1 MB, which ``make test`` downloads. Their libraries are stubs, so
that the bindings can be imported.
"""

import ast
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kdc_core import engines

#: variables of trt_build.py and tensorrt.py → class of TensorRT ("" is the module itself)
CLASSES = {
    "trt": "",
    "self.trt": "",
    "builder": "Builder",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "self._runtime": "Runtime",
    "self._engine": "ICudaEngine",
    "self._context": "IExecutionContext",
    "settings": "IRuntimeConfig",
}
#: used only behind hasattr
OPTIONAL = {
    "BuilderFlag.FP16",
    "BuilderFlag.INT8",
    "BuilderFlag.TF32",
    "IBuilderConfig.clear_flag",
    "IProgressMonitor",
    "IBuilderConfig.progress_monitor",
    "ICudaEngine.create_runtime_config",
    "CudaGraphStrategy",
    "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE",
    "IRuntimeConfig.cuda_graph_strategy",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "ComputeCapability",
    "ComputeCapability.SM75",
}
WHEELS = Path(os.environ.get("KDC_TRT_WHEELS") or Path(sys.prefix) / "trt_wheels")
VERSIONS = ("8.6.1", "10.16.1.11", "11.4.0.106")
#: a C function that returns NULL, for each function that the bindings look up at import
STUB = "void* {name}(void) {{ return 0; }}"


def names_in_use() -> set[str]:
    """Return ``Class.attribute`` of every TensorRT object in our files."""
    used = set()
    for name in ("trt_build", "trt_progress", "tensorrt"):
        source = Path(engines.__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute):
                owner, _, rest = f"{ast.unparse(node)}".rpartition(".")
                if owner in CLASSES:
                    used.add(f"{CLASSES[owner]}.{rest}".lstrip("."))
                elif owner.startswith(("trt.", "self.trt.")):
                    used.add(f"{owner.rpartition('trt.')[2]}.{rest}")
    return used - {"__name__", "__version__"}


def test_names_in_use_finds_the_api():
    used = names_in_use()
    assert {
        "Logger.WARNING",
        "Builder.build_serialized_network",
        "MemoryPoolType.WORKSPACE",
        "IExecutionContext.execute_async_v3",
        "OnnxParser.parse",
        "DataType.FLOAT",
    } <= used
    assert len(used) > 25


@pytest.fixture(scope="module", params=VERSIONS)
def bindings(request, tmp_path_factory) -> tuple[str, dict[str, str]]:
    """Module name, and an environment in which the module can be imported."""
    wheel = next(WHEELS.glob(f"tensorrt_*bindings-{request.param}-*.whl"), None)
    if wheel is None or shutil.which("gcc") is None:
        pytest.skip(
            f"TensorRT {request.param}: no bindings for this Python in {WHEELS} (make test fetches "
            "what there is), or no gcc"
        )
    folder = tmp_path_factory.mktemp("trt")
    zipfile.ZipFile(wheel).extractall(folder)
    binary = next(folder.glob("*/tensorrt.so"))
    listing = subprocess.run(
        ["readelf", "-dW", "--dyn-syms", str(binary)], capture_output=True, text=True, check=True
    ).stdout
    libraries = re.findall(r"NEEDED.*\[(libnv\w*\.so[.\d]*|libcud\w+\.so[.\d]*)\]", listing)
    functions = re.findall(r"GLOBAL\s+\w+\s+UND ((?!_?Py)\w+)$", listing, re.MULTILINE)
    code = folder / "stub.c"
    code.write_text("\n".join(STUB.format(name=f) for f in set(functions)), encoding="utf-8")
    for library in libraries:
        subprocess.run(
            [
                "gcc",
                "-shared",
                "-fPIC",
                f"-Wl,-soname,{library}",
                "-o",
                str(folder / library),
                str(code),
            ],
            check=True,
        )
    env = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)}
    return binary.parent.name, env


def test_api_names_exist(bindings):
    module, env = bindings
    code = (
        f"import json, sys, functools, {module} as trt\n"
        "get = lambda name: functools.reduce(getattr, name.split('.'), trt)\n"
        "missing = []\n"
        "for name in json.load(sys.stdin):\n"
        "    try: get(name)\n"
        "    except AttributeError: missing.append(name)\n"
        "strong = hasattr(trt.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED')\n"
        "print(json.dumps([trt.__version__, strong, missing]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(sorted(names_in_use())),
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1500:]
    version, strong, missing = json.loads(done.stdout)
    assert set(missing) <= OPTIONAL, version
    flags = {"BuilderFlag.FP16", "BuilderFlag.INT8"}
    assert strong or not flags & set(missing), "TensorRT 8 needs the flags"


def test_api_names_exist_in_tensorrt_for_rtx():
    trt = pytest.importorskip("tensorrt_rtx_bindings", reason="make test installs it")

    def there(name: str) -> bool:
        try:
            return functools.reduce(getattr, name.split("."), trt) is not None
        except AttributeError:
            return False

    missing = {name for name in names_in_use() if not there(name)}
    assert not any("cuda_graph" in name.lower() for name in missing)
    assert missing <= OPTIONAL | {"NetworkDefinitionCreationFlag.EXPLICIT_BATCH"}


def test_build_without_gpu(bindings):
    module, env = bindings
    code = (
        f"import sys, {module} as trt\nfrom kdc_core.config import ModelInfo\n"
        "from kdc_core.engines.trt_build import build\n"
        "try: build(trt, b'x' * 200, ModelInfo())\n"
        "except ValueError as error: print(error)\n"
    )
    env = {**env, "PYTHONPATH": env["PYTHONPATH"] + f":{Path(__file__).parents[2]}"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == "TensorRT cannot build an engine: it finds no usable GPU"
