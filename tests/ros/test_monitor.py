"""What /diagnostics says, on a clock of our own."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from kdc_ros.monitor import Monitor


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def status(monitor, state="active"):
    made = monitor.status(state, "blobs", 3, stale_after=2.0)
    return made, {pair.key: pair.value for pair in made.values}


def test_status_has_rates_and_latencies_of_the_last_seconds(clock):
    monitor = Monitor(clock)
    for index in range(200):  # 20 per second for 10 s, every second one processed
        arrived = monitor.received()
        clock.now += 0.05
        if index % 2:
            monitor.processed(arrived, people=index % 5)
    made, values = status(monitor)
    assert made.level == DiagnosticStatus.OK
    assert float(values["fps in"]) == pytest.approx(20, abs=0.3)
    assert float(values["fps out"]) == pytest.approx(10, abs=0.3)
    assert values["latency p50 ms"] == values["latency p95 ms"] == "50.0"
    assert (values["images received"], values["images processed"]) == ("200", "100")
    assert (values["images dropped"], values["people"]) == ("3", "4")


def test_status_warns_without_images_only_while_active(clock):
    monitor = Monitor(clock)
    clock.now += 1.9
    assert status(monitor)[0].level == DiagnosticStatus.OK
    clock.now += 0.2
    made, values = status(monitor)
    assert (made.level, made.message) == (DiagnosticStatus.WARN, "no image for 2.1 s")
    assert values["fps in"] == "0.0" and values["latency p95 ms"] == "0.0"
    made, _ = status(monitor, "inactive")
    assert (made.level, made.message) == (DiagnosticStatus.OK, "inactive")
    monitor.received()
    assert status(monitor)[0].level == DiagnosticStatus.OK


def test_silence_counts_from_the_last_result_while_images_fail(clock):
    monitor = Monitor(clock)
    clock.now += 5
    assert monitor.silence() == 5
    monitor.failed("image: unknown encoding")
    assert monitor.silence() == 5
    monitor.processed(monitor.received(), people=1)
    for _ in range(3):
        clock.now += 1
        monitor.received()
    assert monitor.silence() == 0, "in work"
    monitor.failed("image: unknown encoding")
    assert monitor.silence() == 3
    monitor.processed(monitor.received(), people=1)
    clock.now += 2
    assert monitor.silence() == 2


def test_status_warns_of_an_error_for_a_while_and_keeps_its_text(clock):
    monitor = Monitor(clock)
    monitor.received()
    monitor.failed("image: unknown encoding")
    made, values = status(monitor)
    assert (made.level, made.message) == (DiagnosticStatus.WARN, "image: unknown encoding")
    clock.now += 11
    monitor.received()
    made, values = status(monitor)
    assert made.level == DiagnosticStatus.OK
    assert values["last error"] == "image: unknown encoding" and values["images failed"] == "1"


BUG, BROKEN = "internal error: KeyError: 'x'", "image: unknown encoding"


@pytest.mark.parametrize(
    ("state", "error", "silent", "level", "text"),
    [
        ("active", None, 0.0, DiagnosticStatus.OK, "0.0 fps"),
        ("active", None, 5.0, DiagnosticStatus.WARN, "no image for 5.0 s"),
        ("active", BROKEN, 0.0, DiagnosticStatus.WARN, BROKEN),
        ("active", BROKEN, 5.0, DiagnosticStatus.WARN, "no image for 5.0 s"),
        ("active", BUG, 0.0, DiagnosticStatus.ERROR, BUG),
        ("active", BUG, 5.0, DiagnosticStatus.ERROR, BUG),  # a bug may be why images stop
        ("active", BUG, 11.0, DiagnosticStatus.WARN, "no image for 11.0 s"),  # it fades
        ("disabled", BUG, 5.0, DiagnosticStatus.OK, "disabled"),
    ],
)
def test_status_level_and_text(clock, state, error, silent, level, text):
    monitor = Monitor(clock)
    monitor.received()
    if error:
        monitor.failed(error, internal=error == BUG)
    clock.now += silent
    made, values = status(monitor, state)
    assert (made.level, made.message) == (level, text)
    assert values["last error"] == (error or "")


def test_status_warns_of_a_problem_with_an_image_that_was_processed(clock):
    monitor = Monitor(clock)
    monitor.processed(monitor.received(), people=2)
    monitor.warn("depth: no depth image has been received yet")
    made, values = status(monitor)
    assert made.level == DiagnosticStatus.WARN and made.message.startswith("depth:")
    assert values["images failed"] == "0"


def test_status_counts_late_images_as_dropped(clock):
    monitor = Monitor(clock)
    for _ in range(2):
        monitor.received()
        monitor.late()
    assert status(monitor)[1]["images dropped"] == "5", "3 by the worker and 2 late ones"
