"""Build and install PyCUDA for the tests on a machine with a CUDA toolkit but no driver.

PyCUDA is linked against libcuda, which is part of a driver. A stub with the same names replaces it.
Usage: ``python tests/cuda/build_pycuda.py [VERSION]``. The toolkit is ``$CUDA_HOME``, or the one of
nvcc.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "2026.1"
SITECONF = """
USE_SHIPPED_BOOST = True
CUDA_ROOT = {toolkit!r}
CUDA_ENABLE_GL = False
CUDA_ENABLE_CURAND = False
CUDADRV_LIB_DIR = [{stub!r}]
CUDADRV_LIBNAME = ["cuda"]
CXXFLAGS = ["-g0", "-O1"]
"""


def toolkit() -> Path:
    """Return the root of the CUDA toolkit, or exit if there is none."""
    nvcc = shutil.which("nvcc")
    usual = Path("/usr/local/cuda")
    root = os.environ.get("CUDA_HOME") or (usual if usual.exists() else None)
    root = root or (Path(nvcc).resolve().parents[1] if nvcc else None)
    if root is None or not (Path(root) / "include" / "cuda.h").is_file():
        sys.exit("no CUDA toolkit found (cuda.h); install one or set CUDA_HOME")
    return Path(root)


def stub(header: Path, folder: Path) -> None:
    """Build a libcuda.so with every function of cuda.h; each function returns an error."""
    names = sorted(set(re.findall(r"\bcu[A-Z]\w+", header.read_text(encoding="utf-8"))))
    code = folder / "stub.c"
    code.write_text("\n".join(f"int {name}(void) {{ return 100; }}" for name in names))
    subprocess.run(
        [
            "gcc",
            "-shared",
            "-fPIC",
            "-w",
            "-Wl,-soname,libcuda.so.1",
            "-o",
            str(folder / "libcuda.so"),
            str(code),
        ],
        check=True,
    )


def main(version: str) -> None:
    """Download the source, build it, and install it into this Python."""
    root, pip = toolkit(), [sys.executable, "-m", "pip", "-q"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stub(root / "include" / "cuda.h", folder)
        subprocess.run(
            [
                *pip,
                "download",
                "--no-deps",
                "--no-binary",
                "pycuda",
                "-d",
                name,
                f"pycuda=={version}",
            ],
            check=True,
        )
        with tarfile.open(next(folder.glob("pycuda-*.tar.gz"))) as archive:
            archive.extractall(folder, filter="data")
        source = next(path for path in folder.glob("pycuda-*") if path.is_dir())
        text = SITECONF.format(toolkit=str(root), stub=name)
        (source / "siteconf.py").write_text(text, encoding="utf-8")
        subprocess.run([*pip, "install", str(source)], check=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else VERSION)
