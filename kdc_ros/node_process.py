"""One node per process: start, spin, and stop cleanly on any number of signals."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from kdc_core.errors import one_line
from kdc_ros.error_report import is_startup_error

SIGNALS = (signal.SIGINT, signal.SIGTERM)
N = TypeVar("N", bound=Node)


def run(make: Callable[[], N], summary: Callable[[N], dict[str, Any]] | None = None) -> int:
    """Make a node and spin it until Ctrl-C, SIGTERM or the end of its own work.

    rclpy's own handlers would shut the context down at once, so the last messages of a node would
    be lost. Launch and the terminal each send a SIGINT, so a second one arrives during clean-up: it
    is only noted. Afterwards both signals are ignored, because the interpreter is about to end and
    would restore the default, which kills the process.

    Args:
        make: creates the node.
        summary: of a node at its end; printed as the last line of stdout, in JSON.

    Returns:
        Exit code: 0, or 2 with one line on stderr if the node cannot start.
    """
    signals: list[int] = []  # received so far
    for number in SIGNALS:
        signal.signal(number, lambda received, _: signals.append(received))
    node: N | None = None
    try:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        executor = SingleThreadedExecutor()
        _wake_at_signals(executor)
        if not signals:
            node = make()
            executor.add_node(node)
        while not signals and rclpy.ok():
            executor.spin_once()
    except ExternalShutdownException:
        pass
    except Exception as error:
        if not is_startup_error(error):
            raise
        # with a node and a context that is down, this is the shutdown, between two calls
        if node is None or rclpy.ok():
            print(f"error: {one_line(error)}", file=sys.stderr)
            return 2
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if node is not None and summary is not None:
            print(json.dumps(summary(node)), flush=True)
    return 0


def _wake_at_signals(executor: Executor) -> None:
    """Let ``spin_once`` return at the first signal: Python's handlers run only after its wait."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # Python requires it
    signal.set_wakeup_fd(writing)

    def wait() -> None:
        os.read(reading, 1)
        executor.create_task(lambda: None)

    threading.Thread(target=wait, name="signals", daemon=True).start()
