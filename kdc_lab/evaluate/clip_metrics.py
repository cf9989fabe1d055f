"""What is written down of every frame of a clip, and the figures made of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from kdc_core.skeleton import CENTRE
from kdc_core.types import People
from kdc_lab.evaluate import identity_metrics
from kdc_lab.evaluate.composed_clips import ComposedFrame

SEEN = 0.05  # visible share from which a figure is to be found
GONE, BACK = 0.10, 0.30  # visible shares that begin and end a gap
REGAIN = 0.5  # seconds within which somebody who is back has to bear the old id
HIDDEN_BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95)
HALF = 0.5  # hidden share above which a person counts as mostly hidden
GAP_BINS = (0.0, 0.5, 1.0, 2.0, 5.5)  # seconds
AROUND = 3  # frames around a switch of the centroid
EVEN = 0.1  # share by which two steps of time may differ that jitter is measured over


class ClipRecord:
    """Truth and answer of one clip under one method."""

    def __init__(self) -> None:
        self.frames: list[identity_metrics.Frame] = []
        self.stamps: list[float] = []
        self.shares: list[np.ndarray] = []
        self.moves: list[dict[int, int]] = []  # per frame: id → anchor it went to
        self.carried = self.blind = 0  # frames with a keypoint as centroid; with a hidden one
        self.flicker = self.border = 0  # pixels
        self._anchor: dict[int, int] = {}
        self._labels: list[np.ndarray] = []
        self._points: dict[int, list[np.ndarray]] = {}  # of the last frames, by id
        self.jitter: list[float] = []

    def add(self, stamp: float, shot: ComposedFrame, people: People) -> None:
        """Write one frame down."""
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
            anchor = now.get(_bears(frame, figure), CENTRE)
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
        """Second differences over three frames in a row; across a gap they would be motion."""
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
    """Mask IoU of the visible parts of all figures with all ids that have pixels."""
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


def summary(ledgers: list[ClipRecord]) -> dict[str, Any]:
    """All figures of one method over all clips."""
    frames = [
        identity_metrics.Frame(f.truth + 1000 * clip, f.answer + 100_000 * clip, f.similarity)
        for clip, ledger in enumerate(ledgers)
        for f in ledger.frames
    ]
    idf1, _ = identity_metrics.idf1(frames)
    minutes = sum(_minutes(ledger) for ledger in ledgers)
    moves = sum(len(moved) for ledger in ledgers for moved in ledger.moves)
    lost = [identity_metrics.switches(ledger.frames) for ledger in ledgers]
    jitter = np.concatenate([np.array(ledger.jitter) for ledger in ledgers])
    border = sum(ledger.border for ledger in ledgers)
    return {
        **{name: round(value, 4) for name, value in identity_metrics.hota(frames).items()},
        "IDF1": round(idf1, 4),
        "id_switches": sum(len(events) for events in lost),
        "id_switches_at_centroid_switch": sum(
            _near(ledger, events) for ledger, events in zip(ledgers, lost, strict=True)
        ),
        "centroid_switches_per_minute": round(moves / max(minutes, 1e-9), 1),
        "centroid_on_hidden": _share(ledgers),
        **_visible_iou(ledgers),
        "regained": _regained(ledgers),
        "jitter": round(float(np.sqrt(jitter.mean())) if len(jitter) else 0.0, 5),
        "flicker_per_1000": round(1000 * sum(x.flicker for x in ledgers) / max(1, border), 2),
    }


def _minutes(ledger: ClipRecord) -> float:
    """Minutes that people were to be seen."""
    if len(ledger.stamps) < 2:
        return 0.0
    step = (ledger.stamps[-1] - ledger.stamps[0]) / (len(ledger.stamps) - 1)
    return step * sum(len(frame.truth) for frame in ledger.frames) / 60


def _near(ledger: ClipRecord, events: list[tuple[int, int]]) -> int:
    """Identity switches that happened within a few frames of a centroid switch of that id."""
    count = 0
    for index, truth in events:
        frame = ledger.frames[index]
        row = int(np.flatnonzero(frame.truth == truth)[0])
        name = int(frame.answer[frame.similarity[row].argmax()])
        around = ledger.moves[max(0, index - AROUND) : index + AROUND + 1]
        count += any(name in moved for moved in around)
    return count


def _share(ledgers: list[ClipRecord]) -> float:
    carried = sum(ledger.carried for ledger in ledgers)
    return round(sum(ledger.blind for ledger in ledgers) / max(1, carried), 4)


def _visible_iou(ledgers: list[ClipRecord]) -> dict[str, Any]:
    """Mean IoU of a figure's visible part with the id that is its own, by hidden share."""
    hidden, iou = [], []
    for ledger in ledgers:
        _, names = identity_metrics.idf1(ledger.frames)
        for frame, share in zip(ledger.frames, ledger.shares, strict=True):
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


def _regained(ledgers: list[ClipRecord]) -> dict[str, dict[str, float | int | None]]:
    """By length of the gap: how many people came back, with the old id, and how soon."""
    found: list[tuple[float, float]] = []  # length of the gap, seconds until regained or inf
    for ledger in ledgers:
        for figure in range(len(ledger.shares[0])):
            found += _gaps(ledger, figure)
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


def _gaps(ledger: ClipRecord, figure: int) -> list[tuple[float, float]]:
    share = np.array([shares[figure] for shares in ledger.shares])
    found, start, before = [], None, -1
    for i, now in enumerate(share):
        if now < GONE and before >= 0 and start is None:
            start = i
        elif now >= BACK:
            if start is not None:
                gap = ledger.stamps[i] - ledger.stamps[start]
                found.append((gap, _wait(ledger, figure, i, before)))
                start = None
            name = _bears(ledger.frames[i], figure)
            before = name if name >= 0 else before
    return found


def _wait(ledger: ClipRecord, figure: int, back: int, name: int) -> float:
    """Seconds after coming back until the figure bears the id ``name``; inf if too late."""
    for i in range(back, len(ledger.frames)):
        wait = ledger.stamps[i] - ledger.stamps[back]
        if wait > REGAIN:
            break
        if _bears(ledger.frames[i], figure) == name:
            return wait
    return float("inf")


def _bears(frame: identity_metrics.Frame, figure: int) -> int:
    """Id that fits a figure in a frame, -1 = none."""
    row = np.flatnonzero(frame.truth == figure)
    if not len(row) or not len(frame.answer):
        return -1
    best = int(frame.similarity[row[0]].argmax())
    return (
        int(frame.answer[best]) if frame.similarity[row[0], best] >= identity_metrics.SAME else -1
    )
