"""How the node reports errors: one line for the user's, a traceback for its own."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.qos import InvalidQoSProfileException

from kdc_core.errors import InputError, is_user_error, one_line
from kdc_ros.rclpy_private import RCLError

#: what rclpy raises for names, parameters and QoS that the user has given
ROS_ERRORS = (NameValidationException, ParameterException, InvalidQoSProfileException, RCLError)
TRACEBACK_EVERY = 30.0  # seconds between two tracebacks of the same camera
LINE_EVERY = 5.0  # seconds between two lines of the same camera


def is_startup_error(error: BaseException) -> bool:
    """Return True if the user, not the program, has to change something to start the node."""
    return is_user_error(error) or isinstance(error, ROS_ERRORS)


def describe(error: BaseException) -> str:
    """Return the error as one line; errors of the program are marked as internal."""
    if is_startup_error(error):
        return one_line(error)
    return f"internal error: {type(error).__name__}: {one_line(error)}"


def with_traceback(error: BaseException) -> str:
    """Return the text for the log: one line for errors of the user, else with the traceback."""
    if is_startup_error(error):
        return describe(error)
    return f"{describe(error)}\n{''.join(traceback.format_exception(error)).rstrip()}"


@contextmanager
def given_by_user(topic: str) -> Iterator[None]:
    """Turn whatever rclpy raises for a topic's name or QoS into an ``InputError`` that names it.

    rclpy raises many types for QoS overrides, and its texts do not name the topic. Nothing but the
    call of rclpy may be inside.
    """
    try:
        yield
    except Exception as error:
        raise InputError(f"{topic}: {one_line(error)}") from None


class FrameErrors:
    """Logs the errors of one camera's frames, seldom enough to read the log.

    An error of the user, such as a broken image, is one line. Any other error is a bug: its
    traceback is logged at first and then at most every ``TRACEBACK_EVERY`` seconds, with single
    lines in between.
    """

    def __init__(
        self, topic: str, logger: Any, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``logger`` is the node's; ``clock`` returns seconds and moves forward."""
        self._topic, self._logger, self._clock = topic, logger, clock
        self._next_line = self._next_traceback = -float("inf")

    def log(self, error: Exception) -> None:
        """Log the error of one frame."""
        now = self._clock()
        text = f"{self._topic}: failed to process an image: {describe(error)}"
        if not is_user_error(error) and now >= self._next_traceback:
            self._next_traceback, self._next_line = now + TRACEBACK_EVERY, now + LINE_EVERY
            trace = "".join(traceback.format_exception(error)).rstrip()
            self._logger.error(f"{text}\n{trace}")
        elif now >= self._next_line:
            self._next_line = now + LINE_EVERY
            log = self._logger.warning if is_user_error(error) else self._logger.error
            log(text)
