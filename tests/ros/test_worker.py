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

    def failed(self, source: str, error: Exception) -> None:
        self.errors.append(f"{source}: {error}")

    def __call__(self, source: str, item: object) -> None:
        self.started.release()
        assert self.go.acquire(timeout=60)
        if item == "bad":
            raise ValueError("bad item")
        self.done.append(item)


@pytest.fixture
def work():
    return Recorder()


@pytest.fixture
def worker(work):
    worker = NewestWorker(work, work.failed)
    yield worker
    work.go.release(1000)
    assert worker.stop()


def wait(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_worker_processes_only_the_newest_item(worker, work):
    worker.put("a", 1)
    assert work.started.acquire(timeout=60)
    for item in (2, 3, 4):
        worker.put("a", item)
    work.go.release(2)
    wait(lambda: len(work.done) == 2)
    assert work.done == [1, 4]
    assert worker.dropped("a") == 2


def test_worker_processes_none_and_does_not_count_it_as_dropped(worker, work):
    worker.put("a", 1)
    assert work.started.acquire(timeout=60)
    for item in (None, 2, None):
        worker.put("a", item)
    work.go.release(2)
    wait(lambda: len(work.done) == 2)
    assert work.done == [1, None] and worker.dropped("a") == 1


def test_worker_is_never_more_than_one_item_behind(worker, work):
    for item in range(50):
        worker.put("a", item)
        if item % 10 == 0:
            work.go.release()
            time.sleep(0.005)
    work.go.release(10)
    wait(lambda: work.done and work.done[-1] == 49)
    assert len(work.done) + worker.dropped("a") == 50
    assert work.done == sorted(work.done)


def test_worker_reports_an_error_and_processes_the_next_item(worker, work):
    work.go.release(2)
    worker.put("a", "bad")
    wait(lambda: work.errors)
    worker.put("a", "good")
    wait(lambda: work.done)
    assert work.done == ["good"]
    assert work.errors == ["a: bad item"]


def test_stop_finishes_the_current_item_and_drops_the_waiting_one(work):
    worker = NewestWorker(work, work.failed)
    worker.put("a", 1)
    assert work.started.acquire(timeout=60)
    worker.put("a", 2)
    threading.Timer(0.05, work.go.release).start()
    assert worker.stop()
    worker.put("a", 3)
    time.sleep(0.02)
    assert work.done == [1]


def test_stop_returns_false_if_the_work_does_not_end(work):
    worker = NewestWorker(work, work.failed)
    worker.put("a", 1)
    assert work.started.acquire(timeout=60)
    assert not worker.stop(timeout=0.05)
    work.go.release()
    assert worker.stop()


def test_worker_serves_sources_in_turn(worker, work):
    worker.put("a", "a0")
    assert work.started.acquire(timeout=60)
    worker.put("slow", "s1")
    for item in ("a1", "a2", "a3"):
        worker.put("a", item)
    worker.put("slow", "s2")
    work.go.release(1)
    assert work.started.acquire(timeout=60)  # now s2 is in work: its place in the queue was first
    worker.put("slow", "s3")
    work.go.release(3)
    wait(lambda: len(work.done) == 4)
    assert work.done == ["a0", "s2", "a3", "s3"]
    assert (worker.dropped("a"), worker.dropped("slow")) == (2, 1)


def test_discard_removes_waiting_items(worker, work):
    worker.put("a", 1)
    assert work.started.acquire(timeout=60)
    worker.put("b", 2)
    worker.discard()
    work.go.release(2)
    worker.put("a", 3)
    wait(lambda: len(work.done) == 2)
    assert work.done == [1, 3] and worker.dropped("b") == 0
