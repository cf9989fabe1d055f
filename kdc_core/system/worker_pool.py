"""Processes for heavy work, one core each, that are gone when their parent is gone.

This module imports no numpy: what limits its threads must be said before it is imported.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, TypeVar

from kdc_core.errors import InputError

DIED = "a process was killed, as happens when memory runs out: use fewer workers"
Job = TypeVar("Job")
Result = TypeVar("Result")


class Processes:
    """Processes that do what is submitted, each at the other end of a thread's pipe.

    Unlike an executor of processes these can be stopped in the middle of their work. Whoever is
    left without a parent finds its pipe closed, and ends.
    """

    def __init__(self, count: int = 0) -> None:
        """0: one per core. They start when there is work for them."""
        self._context = multiprocessing.get_context("spawn")  # torch's threads do not survive forks
        self._threads = ThreadPoolExecutor(count or os.cpu_count(), initializer=self._start)
        self._own = threading.local()
        self._all: list[Any] = []
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, work: Callable[..., Result], *given: Any) -> Future[Result]:
        """Have ``work(*given)`` done; the result raises what it raised, ValueError if killed."""
        return self._threads.submit(self._hand_over, work, given)

    def close(self) -> None:
        """Stop everything."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:  # a thread that is about to start a process does not do it any more
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
    """Results in the order of the jobs, by as many processes; 1: by this one.

    Raises:
        ValueError: a process was killed.
    """
    if workers == 1:
        yield from map(work, jobs)
        return
    processes = Processes(workers)
    # Ctrl-C in the middle of Future.result() may leave the future locked, and its thread waiting
    # for ever: only futures that have ended are asked, and a SimpleQueue has no such lock
    ended: SimpleQueue[int] = SimpleQueue()
    there: set[int] = set()
    try:
        waiting = [processes.submit(work, job) for job in jobs]
        for index, future in enumerate(waiting):
            future.add_done_callback(lambda _, index=index: ended.put(index))
        for index, future in enumerate(waiting):
            while index not in there:
                there.add(ended.get())
            yield future.result()
    finally:  # whoever stops listening, by Ctrl-C or an error, wants no more of them
        processes.close()


def _serve(pipe: Connection) -> None:
    """Work until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to answer
    os.environ["OMP_NUM_THREADS"] = "1"  # numpy's and torch's threads would wait for each other
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
