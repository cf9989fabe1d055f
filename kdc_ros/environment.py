"""Environment of a process that moves pictures; must be set before the process starts."""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

#: glibc: keep freed pictures instead of mapping and faulting in every frame anew (3x at 1080p)
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "268435456",
    "MALLOC_TRIM_THRESHOLD_": "536870912",
    "MALLOC_TOP_PAD_": "33554432",
}


def config_file(name: str) -> Path:
    """A file of ``config/``: in the source tree, else where the package is installed."""
    beside = Path(__file__).parents[1] / "config" / name
    if beside.is_file():
        return beside
    return Path(get_package_share_directory("kdc_ros")) / "config" / name


#: of Fast DDS 2 and 3: a profile that every process without another one uses
FAST_DDS = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def fast_dds(profile: str = "") -> dict[str, str]:
    """Variables that make Fast DDS use a shared-memory segment that holds pictures.

    Args:
        profile: file to use instead of ``config/fastdds_shm.xml``; with "none", or where it is
            empty and the environment names a file, there are no variables.
    """
    if profile == "none" or (not profile and any(os.environ.get(name) for name in FAST_DDS)):
        return {}
    return dict.fromkeys(FAST_DDS, profile or str(config_file("fastdds_shm.xml")))


def pictures(profile: str = "") -> dict[str, str]:
    """Variables of a process that moves pictures; ``profile`` as for ``fast_dds``."""
    return {**MALLOC, **fast_dds(profile)}


def loopback(domain: int) -> dict[str, str]:
    """Variables that keep discovery on this machine and in a domain of its own."""
    if os.environ.get("ROS_DISTRO") == "humble":
        return {"ROS_DOMAIN_ID": str(domain), "ROS_LOCALHOST_ONLY": "1"}
    return {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
