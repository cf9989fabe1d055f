"""Run heavy work in processes, one core each, that end when their parent ends.

This module must not import numpy: the variable that limits numpy's threads is read on import.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, TypeVar

from kdc_core.errors import InputError

DIED = "a worker process was killed, probably because memory ran out: use fewer workers"
Job = TypeVar("Job")
Result = TypeVar("Result")


class Processes:
    """A pool of processes; each is served by a thread through a pipe.

    Unlike ``ProcessPoolExecutor``, it can stop its processes in the middle of their work. A process
    whose parent is gone finds its pipe closed and ends.
    """

    def __init__(self, count: int = 0) -> None:
        """Create a pool of ``count`` processes, 0 = one per core. They start on demand."""
        self._context = multiprocessing.get_context("spawn")  # torch's threads do not survive forks
        self._threads = ThreadPoolExecutor(count or os.cpu_count(), initializer=self._start)
        self._own = threading.local()
        self._all: list[Any] = []
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, work: Callable[..., Result], *given: Any) -> Future[Result]:
        """Run ``work(*given)`` in a process.

        The future raises what ``work`` raised, or an ``InputError`` if the process was killed.
        """
        return self._threads.submit(self._hand_over, work, given)

    def close(self) -> None:
        """Stop all processes."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:  # from now on no thread starts a process
            self._closed = True
        for process in self._all:
            process.terminate()
        self._threads.shutdown()

    def _start(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._own.pipe, other = self._context.Pipe()
            process = self._context.Process(target=_serve, args=(other,), daemon=True)
            process.start()
            other.close()
            self._all.append(process)

    def _hand_over(self, work: Callable[..., Result], given: tuple[Any, ...]) -> Result:
        if self._closed:
            raise InputError(DIED)
        try:
            self._own.pipe.send((work, given))
            done, result = self._own.pipe.recv()
        except (EOFError, OSError):
            raise InputError(DIED) from None
        if not done:
            raise result
        return result


def each(work: Callable[[Job], Result], jobs: Iterable[Job], workers: int = 0) -> Iterator[Result]:
    """Yield the results of ``work`` in the order of the jobs.

    Args:
        work: a function of a module, which processes can import.
        jobs: its arguments.
        workers: number of processes; 0 = one per core, 1 = no extra process.

    Raises:
        InputError: a process was killed.
    """
    if workers == 1:
        yield from map(work, jobs)
        return
    processes = Processes(workers)
    # Ctrl-C inside Future.result() may leave the future locked and its thread waiting for ever;
    # so only finished futures are read, and a SimpleQueue has no such lock
    ended: SimpleQueue[int] = SimpleQueue()
    finished: set[int] = set()
    try:
        waiting = [processes.submit(work, job) for job in jobs]
        for index, future in enumerate(waiting):
            future.add_done_callback(partial(_report, ended, index))
        for index, future in enumerate(waiting):
            while index not in finished:
                finished.add(ended.get())
            yield future.result()
    finally:  # also if the caller stops early, by Ctrl-C or an error
        processes.close()


def _report(ended: SimpleQueue[int], index: int, _: Future[Any]) -> None:
    ended.put(index)


def _serve(pipe: Connection) -> None:
    """Serve work until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    os.environ["OMP_NUM_THREADS"] = "1"  # one core per process: threads would wait for each other
    while True:
        try:
            work, given = pipe.recv()
            try:
                answer = (True, work(*given))
            except Exception as error:
                answer = (False, error)
            pipe.send(answer)
        except (EOFError, OSError):
            return
