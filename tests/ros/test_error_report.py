"""Which errors are one line in the log, and how often tracebacks are logged."""

from __future__ import annotations

import pytest
from rclpy.exceptions import InvalidTopicNameException

from kdc_core.errors import InputError
from kdc_ros.error_report import FrameErrors, describe, given_by_user, with_traceback
from kdc_ros.rclpy_private import RCLError
from tests.ros.fakes import FakeLogger


def raised(error: Exception) -> Exception:
    """Return an exception that has a traceback."""
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InputError("two\n  lines"), "two lines"),
        (FileNotFoundError(2, "No such file", "net.onnx"), "net.onnx: No such file"),
        (RCLError("context is not valid"), "context is not valid"),
        (KeyError("x"), "internal error: KeyError: 'x'"),
        (ValueError("shapes"), "internal error: ValueError: shapes"),
    ],
)
def test_describe_and_with_traceback(error: Exception, text: str) -> None:
    error = raised(error)
    assert describe(error) == text
    assert ("Traceback" in with_traceback(error)) == text.startswith("internal")
    assert with_traceback(error).startswith(text)


def test_given_by_user_names_the_topic() -> None:
    with pytest.raises(InputError, match=r"^/a b: Invalid topic name"), given_by_user("/a b"):
        raise InvalidTopicNameException("/a b", "must not contain spaces", 2)


def test_frame_errors_logs_a_bug_with_traceback_once_in_30_s() -> None:
    logger, now = FakeLogger(), [100.0]
    errors = FrameErrors("/image_raw", logger, lambda: now[0])
    for _ in range(31 * 10):  # 10 fps for 31 s
        errors.log(raised(ValueError("shapes")))
        now[0] += 0.1
    traces = [index for index, (_, text) in enumerate(logger.lines) if "Traceback" in text]
    assert traces == [0, len(logger.lines) - 1]
    assert 5 <= len(logger.lines) <= 8, "a line every 5 s in between"
    assert {level for level, _ in logger.lines} == {"error"}


def test_frame_errors_logs_a_bug_after_errors_of_the_user_at_once() -> None:
    logger = FakeLogger()
    errors = FrameErrors("/image_raw", logger, lambda: 0.0)
    for error in (InputError("broken"), InputError("broken"), ValueError("shapes")):
        errors.log(raised(error))
    assert [level for level, _ in logger.lines] == ["warning", "error"]
    assert logger.lines[0][1] == "/image_raw: failed to process an image: broken"


def test_frame_errors_of_two_cameras_are_independent() -> None:
    logger = FakeLogger()
    for topic in ("/left", "/right"):
        FrameErrors(topic, logger, lambda: 0.0).log(raised(ValueError("shapes")))
    assert sum("Traceback" in text for _, text in logger.lines) == 2
