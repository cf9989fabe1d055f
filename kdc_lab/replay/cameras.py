"""Which topics of a recording are cameras, and when their pictures are worked on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from kdc_core.errors import InputError
from kdc_core.topics import COMPRESSED as SUFFIX
from kdc_core.topics import output_namespaces
from kdc_lab.replay.bag import Bag, Message
from kdc_lab.replay.cdr_messages import COMPRESSED, IMAGE

NODE = "/kdc"  # name of the node that is replayed
#: last words of topics that hold pictures, but not a camera's
NO_CAMERA = ("mask", "overlay", "depth", "compressedDepth", "theora", "label", "heatmap")


def choose(bag: Bag, asked: list[str]) -> list[str]:
    """Topics to replay: those asked for, else every camera of the recording.

    A topic that is asked for and not there, or has no pictures, is skipped and counted.

    Raises:
        ValueError: there is none.
    """
    kinds = (IMAGE, COMPRESSED)
    pictures = sorted(name for name, kind in bag.topics.items() if kind in kinds)
    for name in asked:
        if name not in bag.topics:
            bag.skipped.add(name, "not in the recording")
        elif name not in pictures:
            count = bag.counts[name]
            for _ in range(count):
                bag.skipped.add(name, f"not a picture: {bag.topics[name]}")
    chosen = [name for name in asked if name in pictures]
    if not asked:
        chosen = recorded_cameras(bag)
    if not chosen:
        wanted = f"no pictures on {', '.join(asked)}" if asked else "no camera in it"
        there = ", ".join(pictures) or "none"
        raise InputError(f"{bag.path}: {wanted}; topics with pictures: {there}")
    return chosen


def recorded_cameras(bag: Bag) -> list[str]:
    """Return the image topics of all cameras of a recording."""
    pictures = sorted(name for name, kind in bag.topics.items() if kind in (IMAGE, COMPRESSED))
    return [name for name in pictures if _is_camera(name, pictures)]


def prefixes(topics: list[str], recorded: Sequence[str] = ()) -> dict[str, str]:
    """Return the namespace of each camera's outputs, as a node for all cameras chooses it.

    Args:
        topics: image topics that are replayed.
        recorded: image topics of all cameras of the recording. The namespaces do not depend on
            how many of them are replayed.
    """
    plain = {topic.removesuffix(SUFFIX) for topic in topics}
    others = [topic for topic in recorded if topic.removesuffix(SUFFIX) not in plain]
    spaces = output_namespaces([*topics, *others], NODE)
    return dict(zip(topics, spaces, strict=False))


def paced(
    messages: Iterator[Message], rate: float, dropped: Callable[[Message], None],
    clock: Callable[[], float] = time.perf_counter, sleep: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[Message, float]]:  # fmt: skip
    """Messages as a live node gets to work on them: only the newest of each topic.

    A message arrives when it was recorded, ``rate`` times as fast. Whoever takes long misses what
    is replaced by a newer message meanwhile. The topic that waits longest comes first.

    Yields:
        A message and when it arrived, in seconds of ``clock``.
    """
    waiting: dict[str, tuple[Message, float]] = {}
    upcoming = next(messages, None)
    begin, first = clock(), upcoming.time if upcoming else 0
    while upcoming or waiting:
        while upcoming:
            due = begin + (upcoming.time - first) / (1e9 * rate)
            early = due - clock()
            if early > 0 and waiting:
                break
            if early > 0:
                sleep(early)
            if upcoming.topic in waiting:
                dropped(waiting[upcoming.topic][0])
            waiting[upcoming.topic] = (upcoming, due)  # keeps its turn
            upcoming = next(messages, None)
        yield waiting.pop(next(iter(waiting)))


def _is_camera(name: str, pictures: list[str]) -> bool:
    raw = name.removesuffix("/compressed")
    words = raw.split("/")
    twice = raw != name and raw in pictures  # the same camera, compressed
    return not twice and words[-1] not in NO_CAMERA and "depth" not in words and "kdc" not in words
