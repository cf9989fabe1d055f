"""Two replays of the same recording side by side: what changed, and where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from kdc_core.errors import InputError
from kdc_core.io import overlay, write_json
from kdc_core.types import People
from kdc_lab.evaluate import Series, curves
from kdc_lab.replay import baseline, cameras, cdr_messages
from kdc_lab.replay.bag import Bag
from kdc_lab.replay.camera_stats import thumbnail
from kdc_lab.replay.html_report import figure, table, write_page
from kdc_lab.replay.play import RUN, SUMMARY
from kdc_lab.replay.result_files import PEOPLE

SHOWN = 8  # frames that differ most
APART = 1.0  # seconds between two of them


class Place(NamedTuple):
    """One frame of a recording. Stamps may repeat and jump back, times of recording only rise."""

    camera: str  # output prefix
    time: int  # ns, when it was recorded
    stamp: int  # ns


def compare(a: Path, b: Path, out: Path) -> dict[str, Any]:
    """Write ``compare.html`` and ``compare.json``.

    Returns:
        The content of ``compare.json``: figures of both, and how much the frames differ.

    Raises:
        ValueError: one of them is not the output of a replay, or they have no frame in common.
    """
    summaries = [_summary(path) for path in (a, b)]
    bags = [path / PEOPLE for path in (a, b)]
    differing: dict[Place, float] = {}
    for camera in sorted(set.intersection(*map(_cameras, bags))):
        differing |= _differing(*(people_in(bag, camera) for bag in bags))
    if not differing:
        raise InputError(f"{a} and {b}: have no frame in common: not of the same recording?")
    rows = _rows(*summaries)
    worst = _worst(differing)
    content = {
        "a": str(a), "b": str(b), "frames": len(differing),
        "equal_frames": sum(value == 0 for value in differing.values()),
        "mean_difference": round(float(np.mean(list(differing.values()))), 6),
        "figures": {name: [before, after] for name, before, after in rows},
        "most_different": [
            {"camera": p.camera, "stamp_ns": p.stamp, "difference": round(differing[p], 4)}
            for p in worst
        ],
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    _page(out / "compare.html", content, differing, worst, _thumbnails(a, b, worst))
    write_json(out / "compare.json", content)
    return content


def _cameras(bag: Path) -> set[str]:
    """Output prefixes in a bag that a replay has written."""
    source = Bag(bag)
    source.close()
    return {t.removesuffix("/persons") for t in source.topics if t.endswith("/persons")}


def _differing(
    a: Iterator[tuple[Place, People]], b: Iterator[tuple[Place, People]]
) -> dict[Place, float]:
    """How much the frames differ that both have, of one camera, in order of recording."""
    found = {}
    first, second = next(a, None), next(b, None)
    while first and second:
        if first[0] == second[0]:
            found[first[0]] = difference(first[1], second[1])
            first, second = next(a, None), next(b, None)
        elif first[0] < second[0]:
            first = next(a, None)
        else:
            second = next(b, None)
    return found


def people_in(bag: Path, camera: str = "") -> Iterator[tuple[Place, People]]:
    """Everybody in every frame of a bag that a replay has written; ``camera``: of this prefix."""
    source = Bag(bag)
    try:
        arrays: dict[Place, Any] = {}
        outputs = ("/persons", "/mask")
        wanted = {
            t for t in source.topics
            if t.endswith(outputs) and camera in ("", t.rpartition("/")[0])
        }  # fmt: skip
        for message in source.messages(wanted):
            content = cdr_messages.decode(message.data, message.kind)
            prefix, _, kind = message.topic.rpartition("/")
            place = Place(prefix, message.time, cdr_messages.stamp_of(content.header))
            if kind == "persons":
                arrays[place] = content
            elif place in arrays:
                yield (
                    place,
                    cdr_messages.people_of(arrays.pop(place), cdr_messages.labels_of(content)),
                )
    finally:
        source.close()


def difference(a: People, b: People) -> float:
    """How much two answers differ: who has no counterpart, and 1 − IoU of the masks that have."""
    sizes = int(a.ids.max(initial=0)) + 1, int(b.ids.max(initial=0)) + 1
    joint = np.bincount(
        a.labels.ravel().astype(np.intp) * sizes[1] + b.labels.ravel(),
        minlength=sizes[0] * sizes[1],
    ).reshape(sizes)
    common = joint[a.ids][:, b.ids]
    union = joint.sum(axis=1)[a.ids, None] + joint.sum(axis=0)[b.ids] - common
    iou = common / np.maximum(union, 1)
    rows, columns = linear_sum_assignment(iou, maximize=True)
    good = iou[rows, columns] > 0
    shown = [int(np.isin(p.ids, p.labels).sum()) for p in (a, b)]
    return float(sum(shown) - 2 * good.sum() + (1 - iou[rows, columns][good]).sum())


def _summary(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{folder}: expected the output folder of kdc replay") from None


def _rows(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(figure, of a, of b)."""
    rows: list[tuple[str, Any, Any]] = [("frames", a["frames"], b["frames"])]
    for topic in sorted(a["cameras"].keys() & b["cameras"].keys()):
        for name, value in a["cameras"][topic].items():
            rows.append(
                (f"{topic}: {name.replace('_', ' ')}", value, b["cameras"][topic].get(name))
            )
    for name, section, key in baseline.FIGURES:
        values = [baseline.figure(summary, section, key) for summary in (a, b)]
        if values != [None, None]:
            rows.append((name, *values))
    return rows


def _worst(differing: dict[Place, float]) -> list[Place]:
    """Frames that differ most, not more than one a second."""
    chosen: list[Place] = []
    for place in sorted(differing, key=lambda p: (-differing[p], p)):
        apart = all(abs(place.time - other.time) > APART * cdr_messages.NS for other in chosen)
        if differing[place] > 0 and apart and len(chosen) < SHOWN:
            chosen.append(place)
    return chosen


def _thumbnails(a: Path, b: Path, worst: list[Place]) -> dict[Place, bytes]:
    """Both answers drawn over the recording's own pictures, where it is still there."""
    pictures = _pictures(a, set(worst))
    answers = [{p: people for p, people in people_in(path / PEOPLE) if p in pictures}
               for path in (a, b)]  # fmt: skip
    made = {}
    for place, image in pictures.items():
        both = [overlay(image, answer[place]) for answer in answers]
        made[place] = thumbnail(cv2.hconcat(both), 2)
    return made


def _pictures(run: Path, wanted: set[Place]) -> dict[Place, np.ndarray]:
    try:
        path = Path(json.loads((run / RUN).read_text(encoding="utf-8"))["bag"])
        bag = Bag(path)
    except (OSError, ValueError, KeyError):
        return {}  # the recording has been moved: the figures stand without pictures
    found = {}
    try:
        topics = list(_summary(run)["cameras"])
        prefixes = cameras.prefixes(topics, cameras.recorded_cameras(bag))
        for message in bag.messages(set(prefixes)):
            try:
                content = cdr_messages.decode(message.data, message.kind)
                stamp = cdr_messages.stamp_of(content.header) or message.time
                place = Place(prefixes[message.topic], message.time, stamp)
                if place in wanted:
                    found[place] = cdr_messages.picture(content)
            except ValueError:
                continue  # the replays skipped it too
    finally:
        bag.close()
    return found


def _page(
    path: Path, content: dict[str, Any], differing: dict[Place, float], worst: list[Place],
    pictures: dict[Place, bytes],
) -> None:  # fmt: skip
    start = min(place.time for place in differing)
    rows = [
        [name, _shown(before), _shown(after), _change(before, after)]
        for name, (before, after) in content["figures"].items()
    ]
    series = []
    for camera in sorted({place.camera for place in differing}):
        places = [place for place in differing if place.camera == camera]
        times = [(place.time - start) / cdr_messages.NS for place in places]
        series.append(Series(camera, times, [differing[p] for p in places], steps=True))
    parts = [
        "<h1>What changed</h1>",
        f"<p>A: {escape(content['a'])}<br>B: {escape(content['b'])}</p>",
        f"<p>{content['equal_frames']} of {content['frames']} frames are equal.</p>",
        table(rows, ["", "A", "B", "change"]),
        "<h2>Where</h2>",
        "<p>People without a counterpart, and 1 - IoU of the masks that have one.</p>",
        curves(series, "seconds", "difference"),
        "<h2>Frames that differ most (left A, right B)</h2>",
    ]
    for place in worst:
        time = (place.time - start) / cdr_messages.NS
        caption = f"{place.camera}, {time:.2f} s: difference {differing[place]:.2f}"
        parts.append(
            figure(pictures[place], caption, True) if place in pictures else f"<p>{caption}</p>"
        )
    write_page(path, "Two replays", parts)


def _shown(value: Any) -> Any:
    return "-" if value is None else value


def _change(before: Any, after: Any) -> str:
    if not isinstance(before, int | float) or not isinstance(after, int | float):
        return ""
    return f"{after - before:+.4g}" if after != before else ""
