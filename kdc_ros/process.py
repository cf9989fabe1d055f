"""One node per process: start, spin, stop cleanly on any number of signals."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node

RCLError = rclpy_implementation.RCLError


def run(make: Callable[[], Node]) -> int:
    """Make a node and spin it until Ctrl-C, SIGTERM or the end of its own work.

    Launch and the terminal each send a SIGINT, so a second one comes in the middle of the clean-up:
    rclpy's handler wakes the executor, Python's must not raise anywhere. Afterwards both signals
    are ignored, as the interpreter is about to end and would restore the deadly default.

    Returns:
        Exit code: 0, or 2 with one line on stderr when the node cannot start.
    """
    early: list[int] = []  # signals before rclpy listens
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: early.append(received))
    try:
        rclpy.init()
    except RCLError as error:
        return _refused(error)
    node = None
    try:
        if not early:
            node = make()
            executor = SingleThreadedExecutor()
            executor.add_node(node)
            executor.spin()
    except ExternalShutdownException:
        pass
    except (ValueError, ParameterException, RCLError) as error:
        if rclpy.ok():  # else it is the shutdown, arriving between two calls
            return _refused(error)
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    return 0


def one_line(error: Exception) -> str:
    """What went wrong, for a log; rclpy's own texts have several lines."""
    return " ".join(f"{error}".split()) or type(error).__name__


def _refused(error: Exception) -> int:
    print(f"error: {one_line(error)}", file=sys.stderr)
    return 2
