"""One node per process: start, spin, stop cleanly on any number of signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

SIGNALS = (signal.SIGINT, signal.SIGTERM)
RCLError = rclpy_implementation.RCLError


def run(make: Callable[[], Node]) -> int:
    """Make a node and spin it until Ctrl-C, SIGTERM or the end of its own work.

    rclpy's own handlers would end the context at once, and what a node says at its end would not be
    heard. Launch and the terminal each send a SIGINT, so a second one comes in the middle of the
    clean-up: it is only noted. Afterwards both signals are ignored, as the interpreter is about to
    end and would restore the deadly default.

    Returns:
        Exit code: 0, or 2 with one line on stderr when the node cannot start.
    """
    told: list[int] = []  # signals
    for number in SIGNALS:
        signal.signal(number, lambda received, _: told.append(received))
    node = None
    try:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        executor = SingleThreadedExecutor()
        _wake_at_signals(executor)
        if not told:
            node = make()
            executor.add_node(node)
        while not told and rclpy.ok():
            executor.spin_once()
    except ExternalShutdownException:
        pass
    except (ValueError, ParameterException, RCLError) as error:
        if node is None or rclpy.ok():  # else it is the shutdown, arriving between two calls
            return _refused(error)
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    return 0


def _wake_at_signals(executor: Executor) -> None:
    """Let ``spin_once`` return at the first signal: Python's handlers run only after its wait."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # as Python wants it
    signal.set_wakeup_fd(writing)

    def wait() -> None:
        os.read(reading, 1)
        executor.create_task(lambda: None)

    threading.Thread(target=wait, name="signals", daemon=True).start()


def one_line(error: Exception) -> str:
    """What went wrong, for a log; rclpy's own texts have several lines."""
    return " ".join(f"{error}".split()) or type(error).__name__


def _refused(error: Exception) -> int:
    print(f"error: {one_line(error)}", file=sys.stderr)
    return 2
