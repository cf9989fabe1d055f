"""A DDS domain of one's own: others on this machine, who may be testing, too, are not heard."""

from __future__ import annotations

import os
import socket
from functools import cache

DOMAINS = 100  # with more, ports of DDS would be among those that the system gives away
FIRST_PORT = 22000

_held: list[socket.socket] = []


@cache
def private() -> int:
    """Number of a domain that is this process's until it ends.

    A bound port on loopback stands for it: it is given back whatever becomes of the process.

    Raises:
        RuntimeError: all are taken.
    """
    for turn in range(DOMAINS):
        number = 1 + (os.getpid() + turn) % DOMAINS
        guard = socket.socket()
        try:
            guard.bind(("127.0.0.1", FIRST_PORT + number))
        except OSError:
            guard.close()
            continue
        _held.append(guard)
        return number
    raise RuntimeError(f"all of {DOMAINS} DDS domains are in use")
