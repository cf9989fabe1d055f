"""Compare two replays of the same recording: what changed, and where."""

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

SHOWN = 8  # frames of the page: those that differ most
MIN_DISTANCE = 1.0  # seconds between two of them


class FrameKey(NamedTuple):
    """Identifies a frame of a recording.

    A stamp does not: it may repeat or jump back. Times of recording only increase.
    """

    camera: str  # namespace of its outputs
    time: int  # ns, when it was recorded
    stamp: int  # ns


def compare(a: Path, b: Path, out: Path) -> dict[str, Any]:
    """Write ``compare.html`` and ``compare.json``.

    Returns:
        The content of ``compare.json``: figures of both, and how much the frames differ.

    Raises:
        InputError: one of them is not the output of a replay, or they have no frame in common.
    """
    summaries = [_summary(path) for path in (a, b)]
    bags = [path / PEOPLE for path in (a, b)]
    differing: dict[FrameKey, float] = {}
    for camera in sorted(set.intersection(*map(_cameras, bags))):
        differing |= _differing(*(people_in(bag, camera) for bag in bags))
    if not differing:
        raise InputError(
            f"{a} and {b} have no frame in common; expected two replays of one recording"
        )
    rows = _rows(*summaries)
    worst = _worst(differing)
    content = {
        "a": str(a),
        "b": str(b),
        "frames": len(differing),
        "equal_frames": sum(value == 0 for value in differing.values()),
        "mean_difference": round(float(np.mean(list(differing.values()))), 6),
        "figures": {name: [before, after] for name, before, after in rows},
        "most_different": [
            {"camera": p.camera, "stamp_ns": p.stamp, "difference": round(differing[p], 4)}
            for p in worst
        ],
    }
    out.mkdir(parents=True, exist_ok=True)
    _page(out / "compare.html", content, differing, worst, _thumbnails(a, b, worst))
    write_json(out / "compare.json", content)
    return content


def _cameras(bag: Path) -> set[str]:
    """Return the namespaces of the outputs in a bag that a replay has written."""
    source = Bag(bag)
    source.close()
    return {t.removesuffix("/persons") for t in source.topics if t.endswith("/persons")}


def _differing(
    a: Iterator[tuple[FrameKey, People]], b: Iterator[tuple[FrameKey, People]]
) -> dict[FrameKey, float]:
    """Return the differences of the frames of one camera that both replays have."""
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


def people_in(bag: Path, camera: str = "") -> Iterator[tuple[FrameKey, People]]:
    """Yield the people of every frame of a bag that a replay has written.

    Args:
        bag: the folder.
        camera: namespace of the outputs of one camera; empty: all cameras.
    """
    source = Bag(bag)
    try:
        arrays: dict[FrameKey, Any] = {}
        outputs = ("/persons", "/mask")
        wanted = {
            t for t in source.topics if t.endswith(outputs) and camera in ("", t.rpartition("/")[0])
        }
        for message in source.messages(wanted):
            content = cdr_messages.decode(message.data, message.kind)
            prefix, _, kind = message.topic.rpartition("/")
            key = FrameKey(prefix, message.time, cdr_messages.stamp_of(content.header))
            if kind == "persons":
                arrays[key] = content
            elif key in arrays:
                yield (
                    key,
                    cdr_messages.people_of(arrays.pop(key), cdr_messages.labels_of(content)),
                )
    finally:
        source.close()


def difference(a: People, b: People) -> float:
    """Return the difference of two results.

    It is the number of people without a counterpart plus 1 - IoU of each matched pair of masks.
    """
    sizes = [int(max(p.ids.max(initial=0), p.labels.max(initial=0))) + 1 for p in (a, b)]
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
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        if all(isinstance(figures, dict) for figures in summary["cameras"].values()):
            return {"frames": summary["frames"], **summary}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise InputError(f"{folder}: expected the output folder of kdc replay")


def _rows(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return rows (name of the figure, value of a, value of b)."""
    rows: list[tuple[str, Any, Any]] = [("frames", a["frames"], b["frames"])]
    for topic in sorted(a["cameras"].keys() & b["cameras"].keys()):
        for name, value in a["cameras"][topic].items():
            rows.append(
                (f"{topic}: {name.replace('_', ' ')}", value, b["cameras"][topic].get(name))
            )
    for name, section, key in baseline.FIGURES:
        before, after = (baseline.figure(summary, section, key) for summary in (a, b))
        if before is not None or after is not None:
            rows.append((name, before, after))
    return rows


def _worst(differing: dict[FrameKey, float]) -> list[FrameKey]:
    """Return the frames that differ most, at most one a second."""
    chosen: list[FrameKey] = []
    for key in sorted(differing, key=lambda p: (-differing[p], p)):
        apart = all(abs(key.time - other.time) > MIN_DISTANCE * cdr_messages.NS for other in chosen)
        if differing[key] > 0 and apart and len(chosen) < SHOWN:
            chosen.append(key)
    return chosen


def _thumbnails(a: Path, b: Path, worst: list[FrameKey]) -> dict[FrameKey, bytes]:
    """Draw both results over the images of the recording, if it still exists."""
    images = _images(a, set(worst))
    results = [
        {key: people for key, people in people_in(path / PEOPLE) if key in images}
        for path in (a, b)
    ]
    made = {}
    for key, image in images.items():
        both = [overlay(image, result[key]) for result in results]
        made[key] = thumbnail(cv2.hconcat(both), 2)
    return made


def _images(run: Path, wanted: set[FrameKey]) -> dict[FrameKey, np.ndarray]:
    try:
        path = Path(json.loads((run / RUN).read_text(encoding="utf-8"))["bag"])
        bag = Bag(path)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}  # the recording was moved: the page shows figures without images
    found = {}
    try:
        topics = list(_summary(run)["cameras"])
        prefixes = cameras.prefixes(topics, cameras.recorded_cameras(bag))
        for message in bag.messages(set(prefixes)):
            try:
                content = cdr_messages.decode(message.data, message.kind)
                stamp = cdr_messages.stamp_of(content.header) or message.time
                key = FrameKey(prefixes[message.topic], message.time, stamp)
                if key in wanted:
                    found[key] = cdr_messages.image_of(content)
            except InputError:
                continue  # both replays skipped it
    finally:
        bag.close()
    return found


def _page(
    path: Path,
    content: dict[str, Any],
    differing: dict[FrameKey, float],
    worst: list[FrameKey],
    images: dict[FrameKey, bytes],
) -> None:
    start = min(key.time for key in differing)
    rows = [
        [name, _shown(before), _shown(after), _change(before, after)]
        for name, (before, after) in content["figures"].items()
    ]
    series = []
    for camera in sorted({key.camera for key in differing}):
        keys = [key for key in differing if key.camera == camera]
        times = [(key.time - start) / cdr_messages.NS for key in keys]
        series.append(Series(camera, times, [differing[p] for p in keys], steps=True))
    parts = [
        "<h1>Changes</h1>",
        f"<p>A: {escape(content['a'])}<br>B: {escape(content['b'])}</p>",
        f"<p>{content['equal_frames']} of {content['frames']} frames are equal.</p>",
        table(rows, ["", "A", "B", "change"]),
        "<h2>Differences over time</h2>",
        "<p>Number of people without a counterpart plus 1 - IoU of each matched pair of masks.</p>",
        curves(series, "seconds", "difference"),
        "<h2>Frames with the largest differences (left A, right B)</h2>",
    ]
    for key in worst:
        time = (key.time - start) / cdr_messages.NS
        caption = f"{key.camera}, {time:.2f} s: difference {differing[key]:.2f}"
        parts.append(figure(images[key], caption, True) if key in images else f"<p>{caption}</p>")
    write_page(path, "Comparison of two replays", parts)


def _shown(value: Any) -> Any:
    return "-" if value is None else value


def _change(before: Any, after: Any) -> str:
    if not isinstance(before, int | float) or not isinstance(after, int | float):
        return ""
    return f"{after - before:+.4g}" if after != before else ""
