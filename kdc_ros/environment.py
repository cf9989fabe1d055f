"""Environment variables of processes that send or receive images; set before the process starts."""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory

#: glibc: keep freed images instead of mapping and faulting in every frame anew (3x at 1080p)
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "268435456",
    "MALLOC_TRIM_THRESHOLD_": "536870912",
    "MALLOC_TOP_PAD_": "33554432",
}
#: variables of Fast DDS 2 and 3 that name the default profile
FAST_DDS = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def config_file(name: str) -> Path:
    """Return the path of a file of ``config/``: in the source tree, else in the installation."""
    in_source = Path(__file__).parents[1] / "config" / name
    if in_source.is_file():
        return in_source
    return Path(get_package_share_directory("kdc_ros")) / "config" / name


def fast_dds(profile: str = "") -> dict[str, str]:
    """Return variables that give Fast DDS a shared-memory segment large enough for images.

    Args:
        profile: file to use instead of ``config/fastdds_shm.xml``. With "none", or if it is empty
            and the environment names a file already, no variables are returned.
    """
    if profile == "none" or (not profile and any(os.environ.get(name) for name in FAST_DDS)):
        return {}
    return dict.fromkeys(FAST_DDS, profile or str(config_file("fastdds_shm.xml")))


def image_environment(profile: str = "") -> dict[str, str]:
    """Return all variables of a process that handles images; ``profile`` as in ``fast_dds``."""
    return {**MALLOC, **fast_dds(profile)}


def loopback(domain: int) -> dict[str, str]:
    """Return variables that keep DDS discovery on this machine and in one domain."""
    if os.environ.get("ROS_DISTRO") == "humble":
        return {"ROS_DOMAIN_ID": str(domain), "ROS_LOCALHOST_ONLY": "1"}
    return {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
