"""Record ground truth and prediction of every frame of a clip, and compute figures from them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from kdc_core.skeleton import CENTRE
from kdc_core.types import People
from kdc_lab.evaluate import identity_metrics
from kdc_lab.evaluate.composed_clips import ComposedFrame

SEEN = 0.05  # visible share from which a figure must be found
GONE, BACK = 0.10, 0.30  # visible shares that begin and end a gap
REGAIN = 0.5  # seconds after a gap within which a person must have its old id again
HIDDEN_BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95)
HALF = 0.5  # hidden share above which a person counts as mostly hidden
GAP_BINS = (0.0, 0.5, 1.0, 2.0, 5.5)  # seconds
AROUND = 3  # frames around a switch of the centroid
EVEN = 0.1  # jitter is measured where two time steps differ by at most this share


class ClipRecord:
    """Ground truth and prediction of one clip by one method."""

    def __init__(self) -> None:
        """Create an empty record."""
        self.frames: list[identity_metrics.Frame] = []
        self.stamps: list[float] = []
        self.shares: list[np.ndarray] = []
        self.moves: list[dict[int, int]] = []  # per frame: id → new centroid
        self.carried = self.blind = 0  # frames whose centroid is a keypoint; a hidden one
        self.flicker = self.border = 0  # pixels
        self._anchor: dict[int, int] = {}
        self._labels: list[np.ndarray] = []
        self._points: dict[int, list[np.ndarray]] = {}  # keypoints of the last three frames, by id
        self.jitter: list[float] = []

    def add(self, stamp: float, shot: ComposedFrame, people: People) -> None:
        """Add one frame; ``stamp`` is in seconds."""
        frame = _compare(shot, people)
        self.frames.append(frame)
        self.stamps.append(stamp)
        self.shares.append(shot.share)
        self._centroids(shot, people, frame)
        self._flicker(people.labels)
        self._jitter(people)

    def _centroids(
        self, shot: ComposedFrame, people: People, frame: identity_metrics.Frame
    ) -> None:
        now = dict(zip(people.ids.tolist(), people.centroid.tolist(), strict=True))
        self.moves.append({i: a for i, a in now.items() if self._anchor.get(i, a) != a})
        self._anchor = {**self._anchor, **now}
        for figure in frame.truth:
            anchor = now.get(_matched_id(frame, figure), CENTRE)
            if anchor != CENTRE:
                self.carried += 1
                self.blind += bool(shot.keypoints[figure, anchor, 2] < 2)

    def _flicker(self, labels: np.ndarray) -> None:
        self._labels = [*self._labels[-2:], labels]
        if len(self._labels) == 3:
            a, b, c = self._labels
            self.flicker += int(np.count_nonzero((a == c) & (a != b)))
            inner = cv2.erode(c, np.ones((3, 3), np.uint8))
            self.border += int(np.count_nonzero(inner != c))

    def _jitter(self, people: People) -> None:
        """Add second differences over three frames in a row; across a gap they would be motion."""
        steps = np.diff(self.stamps[-3:])
        even = len(steps) == 2 and abs(steps[1] - steps[0]) <= EVEN * steps.max()
        before, self._points = self._points, {}
        for row, name in enumerate(people.ids.tolist()):
            box = people.boxes[row]
            scale = max(4.0, float(np.sqrt((box[2] - box[0]) * (box[3] - box[1]))))
            points = self._points[name] = [*before.get(name, [])[-2:], people.keypoints[row]]
            if len(points) == 3 and even:
                shown = people.visible[row]
                bend = (points[0] - 2 * points[1] + points[2])[shown, :2] / scale
                self.jitter += (bend**2).sum(axis=1).tolist()


def _compare(shot: ComposedFrame, people: People) -> identity_metrics.Frame:
    """Return the mask IoU of the visible parts of all figures with all ids that have pixels."""
    truth = np.flatnonzero(shot.share >= SEEN)
    sizes = np.bincount(people.labels.ravel(), minlength=1)
    inside = people.ids[people.ids < len(sizes)]
    answer = inside[sizes[inside] > 0]
    joint = np.bincount(
        shot.owner.ravel().astype(np.intp) * len(sizes) + people.labels.ravel(),
        minlength=(len(shot.share) + 1) * len(sizes),
    ).reshape(-1, len(sizes))
    common = joint[truth + 1][:, answer]
    union = joint.sum(axis=1)[truth + 1, None] + sizes[answer] - common
    return identity_metrics.Frame(truth, answer, common / np.maximum(union, 1))


def summary(records: list[ClipRecord]) -> dict[str, Any]:
    """Return all figures of one method over all clips."""
    frames = [
        identity_metrics.Frame(f.truth + 1000 * clip, f.answer + 100_000 * clip, f.similarity)
        for clip, record in enumerate(records)
        for f in record.frames
    ]
    idf1, _ = identity_metrics.idf1(frames)
    minutes = sum(_minutes(record) for record in records)
    moves = sum(len(moved) for record in records for moved in record.moves)
    lost = [identity_metrics.switches(record.frames) for record in records]
    jitter = np.concatenate([np.array(record.jitter) for record in records])
    border = sum(record.border for record in records)
    return {
        **{name: round(value, 4) for name, value in identity_metrics.hota(frames).items()},
        "IDF1": round(idf1, 4),
        "id_switches": sum(len(events) for events in lost),
        "id_switches_at_centroid_switch": sum(
            _near(record, events) for record, events in zip(records, lost, strict=True)
        ),
        "centroid_switches_per_minute": round(moves / max(minutes, 1e-9), 1),
        "centroid_on_hidden": _share(records),
        **_visible_iou(records),
        "regained": _regained(records),
        "jitter": round(float(np.sqrt(jitter.mean())) if len(jitter) else 0.0, 5),
        "flicker_per_1000": round(1000 * sum(x.flicker for x in records) / max(1, border), 2),
    }


def _minutes(record: ClipRecord) -> float:
    """Return the minutes during which people are visible, summed over people."""
    if len(record.stamps) < 2:
        return 0.0
    step = (record.stamps[-1] - record.stamps[0]) / (len(record.stamps) - 1)
    return step * sum(len(frame.truth) for frame in record.frames) / 60


def _near(record: ClipRecord, events: list[tuple[int, int]]) -> int:
    """Count identity switches within ``AROUND`` frames of a centroid switch of that id."""
    count = 0
    for index, truth in events:
        frame = record.frames[index]
        row = int(np.flatnonzero(frame.truth == truth)[0])
        name = int(frame.answer[frame.similarity[row].argmax()])
        around = record.moves[max(0, index - AROUND) : index + AROUND + 1]
        count += any(name in moved for moved in around)
    return count


def _share(records: list[ClipRecord]) -> float:
    carried = sum(record.carried for record in records)
    return round(sum(record.blind for record in records) / max(1, carried), 4)


def _visible_iou(records: list[ClipRecord]) -> dict[str, Any]:
    """Return the mean IoU of a figure's visible part with its own id, by hidden share."""
    hidden, iou = [], []
    for record in records:
        _, names = identity_metrics.idf1(record.frames)
        for frame, share in zip(record.frames, record.shares, strict=True):
            for row, truth in enumerate(frame.truth.tolist()):
                own = frame.answer == names.get(truth, -1)
                hidden.append(1 - share[truth])
                iou.append(frame.similarity[row, own].max(initial=0))
    where = np.digitize(hidden, HIDDEN_BINS) - 1
    means: dict[str, float | None] = {}
    for i, (low, high) in enumerate(pairwise(HIDDEN_BINS)):
        part = np.array(iou)[where == i]
        means[f"{low:.2f}-{high:.2f}"] = round(float(part.mean()), 4) if len(part) else None
    half = np.array(iou)[np.array(hidden) > HALF]
    return {
        "iou_by_hidden": means,
        "iou_half_hidden": round(float(half.mean()), 4) if len(half) else None,
    }


def _regained(records: list[ClipRecord]) -> dict[str, dict[str, float | int | None]]:
    """Return the share of people that regain their id after a gap, and the delay, by length."""
    found: list[tuple[float, float]] = []  # length of the gap, seconds until regained or inf
    for record in records:
        for figure in range(len(record.shares[0])):
            found += _gaps(record, figure)
    result: dict[str, dict[str, float | int | None]] = {}
    for low, high in pairwise(GAP_BINS):
        waits = np.array([wait for gap, wait in found if low < gap <= high])
        good = waits[np.isfinite(waits)]
        result[f"{low}-{high} s"] = {
            "gaps": len(waits),
            "rate": round(len(good) / len(waits), 3) if len(waits) else None,
            "latency": round(float(np.median(good)), 3) if len(good) else None,
        }
    return result


def _gaps(record: ClipRecord, figure: int) -> list[tuple[float, float]]:
    share = np.array([shares[figure] for shares in record.shares])
    found, start, before = [], None, -1
    for i, now in enumerate(share):
        if now < GONE and before >= 0 and start is None:
            start = i
        elif now >= BACK:
            if start is not None:
                gap = record.stamps[i] - record.stamps[start]
                found.append((gap, _wait(record, figure, i, before)))
                start = None
            name = _matched_id(record.frames[i], figure)
            before = name if name >= 0 else before
    return found


def _wait(record: ClipRecord, figure: int, back: int, name: int) -> float:
    """Return the seconds until the figure has the id ``name`` again; inf after ``REGAIN``."""
    for i in range(back, len(record.frames)):
        wait = record.stamps[i] - record.stamps[back]
        if wait > REGAIN:
            break
        if _matched_id(record.frames[i], figure) == name:
            return wait
    return float("inf")


def _matched_id(frame: identity_metrics.Frame, figure: int) -> int:
    """Return the id that matches a figure in a frame, -1 if none does."""
    row = np.flatnonzero(frame.truth == figure)
    if not len(row) or not len(frame.answer):
        return -1
    best = int(frame.similarity[row[0]].argmax())
    return (
        int(frame.answer[best]) if frame.similarity[row[0], best] >= identity_metrics.SAME else -1
    )
