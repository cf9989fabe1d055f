"""The newest-frame worker, without ROS."""

from __future__ import annotations

import threading
import time

import pytest

from kdc_ros.worker import NewestWorker


class Recorder:
    """Work that waits for permission and notes what it did."""

    def __init__(self) -> None:
        self.done: list = []
        self.errors: list = []
        self.started = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def __call__(self, item: object) -> None:
        self.started.release()
        assert self.go.acquire(timeout=5)
        if item == "bad":
            raise ValueError("bad item")
        self.done.append(item)


@pytest.fixture
def work():
    return Recorder()


@pytest.fixture
def worker(work):
    worker = NewestWorker(work, work.errors.append)
    yield worker
    work.go.release(1000)
    assert worker.stop()


def wait(condition) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_only_the_newest_of_what_came_meanwhile_is_worked_on(worker, work):
    worker.put(1)
    assert work.started.acquire(timeout=5)
    for item in (2, 3, 4):
        worker.put(item)
    work.go.release(2)
    wait(lambda: len(work.done) == 2)
    assert work.done == [1, 4]
    assert worker.dropped == 2


def test_a_slow_consumer_is_never_more_than_one_item_behind(worker, work):
    for item in range(50):
        worker.put(item)
        if item % 10 == 0:
            work.go.release()
            time.sleep(0.005)
    work.go.release(10)
    wait(lambda: work.done and work.done[-1] == 49)
    assert len(work.done) + worker.dropped == 50
    assert work.done == sorted(work.done)


def test_an_error_is_reported_and_the_next_item_is_worked_on(worker, work):
    work.go.release(2)
    worker.put("bad")
    wait(lambda: work.errors)
    worker.put("good")
    wait(lambda: work.done)
    assert work.done == ["good"]
    assert [str(error) for error in work.errors] == ["bad item"]


def test_stop_finishes_the_item_in_work_and_drops_the_waiting_one(work):
    worker = NewestWorker(work, work.errors.append)
    worker.put(1)
    assert work.started.acquire(timeout=5)
    worker.put(2)
    threading.Timer(0.05, work.go.release).start()
    assert worker.stop()
    worker.put(3)
    time.sleep(0.02)
    assert work.done == [1]


def test_stop_says_so_when_the_work_does_not_end(work):
    worker = NewestWorker(work, work.errors.append)
    worker.put(1)
    assert work.started.acquire(timeout=5)
    assert not worker.stop(timeout=0.05)
    work.go.release()
    assert worker.stop()
