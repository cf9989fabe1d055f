"""Choose the cameras of a recording, their output topics, and the frames that a robot sees."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from kdc_core.errors import InputError
from kdc_core.topics import COMPRESSED as SUFFIX
from kdc_core.topics import output_namespaces
from kdc_lab.replay.bag import Bag, Message
from kdc_lab.replay.cdr_messages import COMPRESSED, IMAGE

NODE = "/kdc"  # name of the node that is replayed
#: last parts of the names of image topics that are no cameras
NO_CAMERA = ("mask", "overlay", "depth", "compressedDepth", "theora", "label", "heatmap")


def choose(bag: Bag, requested: list[str]) -> list[str]:
    """Return the topics to replay: the requested ones, else every camera of the recording.

    A requested topic that is missing or has no images is skipped and counted.

    Raises:
        InputError: there is no such topic.
    """
    images = _image_topics(bag)
    for name in requested:
        if name not in bag.topics:
            bag.skipped.add(name, "not in the recording")
        elif name not in images:
            count = bag.counts[name]
            for _ in range(count):
                bag.skipped.add(name, f"not an image: {bag.topics[name]}")
    chosen = [name for name in requested if name in images]
    if not requested:
        chosen = recorded_cameras(bag)
    if not chosen:
        missing = f"no images on {', '.join(requested)}" if requested else "it has no camera"
        raise InputError(
            f"{bag.path}: {missing}; topics with images: {', '.join(images) or 'none'}"
        )
    return chosen


def recorded_cameras(bag: Bag) -> list[str]:
    """Return the image topics of all cameras of a recording."""
    images = _image_topics(bag)
    return [name for name in images if _is_camera(name, images)]


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
    messages: Iterator[Message],
    rate: float,
    drop: Callable[[Message], None],
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[Message, float]]:
    """Yield the messages that a live node processes: only the newest of each topic.

    Messages arrive at the times of the recording, ``rate`` times as fast. While one is processed,
    a newer message replaces an older one of its topic. The topic that waits longest comes first.

    Args:
        messages: in the order of recording.
        rate: speed relative to the recording.
        drop: is called with each message that is replaced.
        clock: returns seconds.
        sleep: waits for a number of seconds of ``clock``.

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
                drop(waiting[upcoming.topic][0])
            waiting[upcoming.topic] = (upcoming, due)  # keeps its turn
            upcoming = next(messages, None)
        yield waiting.pop(next(iter(waiting)))


def _image_topics(bag: Bag) -> list[str]:
    return sorted(name for name, kind in bag.topics.items() if kind in (IMAGE, COMPRESSED))


def _is_camera(name: str, images: list[str]) -> bool:
    raw = name.removesuffix("/compressed")
    words = raw.split("/")
    twice = raw != name and raw in images  # the same camera, compressed
    return not twice and words[-1] not in NO_CAMERA and "depth" not in words and "kdc" not in words
