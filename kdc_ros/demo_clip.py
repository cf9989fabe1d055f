"""The demo's clip: OpenCV's sample ``vtest.avi``, people walking past, 768x576, 10 fps, 795 frames.

It is extracted from Debian's package ``opencv-doc`` where apt is available, else from the source
package of ``opencv-python``. Its checksum is verified, and it is stored in the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Literal

from kdc_core.errors import InputError

NAME = "vtest.avi"
SHA256 = "45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf"
NO_WHEEL = ("--no-binary", ":all:")  # options of pip
SDIST = "4.11.0.86"  # version of opencv-python whose source package contains the samples


def fetch(say: Callable[[str], None] = print) -> Path:
    """Return the path of the clip in the cache; downloads about 95 MB the first time.

    Args:
        say: gets lines of progress.

    Raises:
        InputError: neither source could be reached, or the checksum is wrong.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kdc"
    clip = cache / NAME
    if clip.is_file() and _sha256(clip) == SHA256:
        return clip
    cache.mkdir(parents=True, exist_ok=True)
    failures = []
    for where, download in (
        ("Debian's package opencv-doc", from_apt),
        ("the source package of opencv-python", from_sdist),
    ):
        say(f"fetching {NAME} from {where} (95 MB, once)")
        part = clip.with_suffix(f".{os.getpid()}.part")
        try:
            download(part)
            if (got := _sha256(part)) != SHA256:
                raise InputError(f"expected sha256 {SHA256[:12]}…, got {got[:12]}…")
            part.replace(clip)
            return clip
        except (OSError, InputError, subprocess.SubprocessError, tarfile.TarError) as error:
            failures.append(f"{where}: {error}")
        finally:
            part.unlink(missing_ok=True)
    raise InputError(
        f"{NAME} could not be downloaded ({'; '.join(failures)}): use a video of your own: "
        "make demo SOURCE=FILE"
    )


def from_apt(target: Path) -> None:
    """Extract the clip from Debian's package opencv-doc to ``target``."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise InputError("apt is not installed")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["apt-get", "-qq", "download", "opencv-doc"],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=300,
        )
        package = next(Path(folder).glob("opencv-doc*.deb"))
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE
        ) as unpacking:
            try:
                assert unpacking.stdout is not None
                extract(unpacking.stdout, "r|", target)
            finally:
                unpacking.terminate()  # the rest of the package is not needed


def from_sdist(target: Path) -> None:
    """Stream the archive and stop at the clip; its address is taken from pip's own index."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "-vv", "index", "versions", *NO_WHEEL, "opencv-python"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = re.search(
        rf"Found link (\S+/opencv-python-{re.escape(SDIST)}\.tar\.gz)", listing.stdout
    )
    if found is None:
        raise InputError(f"pip finds no source package of opencv-python {SDIST}")
    with urllib.request.urlopen(found[1], timeout=60) as response:
        extract(response, "r|gz", target)


def extract(stream: IO[bytes], mode: Literal["r|", "r|gz"], target: Path) -> None:
    """Write the clip in a tar archive to ``target``.

    Raises:
        InputError: the archive does not contain it.
    """
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for member in archive:
            if member.name.endswith("/" + NAME) and member.isfile():
                source = archive.extractfile(member)
                assert source is not None  # it is a file
                with source, target.open("wb") as out:
                    shutil.copyfileobj(source, out)
                return
    raise InputError(f"the package contains no {NAME}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
