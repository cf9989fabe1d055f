"""Replay a recording: process every frame, and write the people, the figures and a report."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kdc_core.errors import InputError
from kdc_core.io import write_json
from kdc_core.pipeline import Pipeline
from kdc_core.session import DEFAULT_MIN_SCORE, Result, Session, Skip
from kdc_core.types import Frame, People
from kdc_lab.replay import cameras, cdr_messages, ground_truth
from kdc_lab.replay.bag import Bag, Message
from kdc_lab.replay.camera_stats import CameraStats
from kdc_lab.replay.evaluator import Evaluator
from kdc_lab.replay.html_report import write_report
from kdc_lab.replay.result_files import PEOPLE, Output

_log = logging.getLogger(__name__)

#: reason in the report for a frame that the session drops
SKIPPED = {Skip.LATE: "stamp jumps back", Skip.REPEATED: "stamp repeats"}
SUMMARY, RUN = "summary.json", "run.json"
KEY = "task.json"  # of one recording of many: tells whether it was replayed with these settings


@dataclass(frozen=True)
class Settings:
    """What is replayed, and how."""

    topics: tuple[str, ...] = ()  # image topics; empty: all cameras
    start: float = 0.0  # seconds into the recording
    duration: float = 0.0  # seconds, 0 = to the end
    realtime: bool = False
    rate: float = 1.0  # speed relative to the recording, with ``realtime`` only
    truth: str = ""  # COCO file or MOTS text beside the recording
    truth_topic: str = ""  # PersonArrays in the recording; empty: …/truth/persons of each camera
    storage: str = "mcap"  # of the bag that is written
    min_score: float = DEFAULT_MIN_SCORE  # people with lower scores are not reported


class RobotClock:
    """Clock that stands still while a replay does what a robot does not do.

    A replay reads a recording, writes results and evaluates them. On a robot that time does not
    pass, so it must neither delay a frame nor count as its latency.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Create a clock.

        Args:
            now: returns seconds; moves forward only.
            sleep: waits until ``now`` has moved on by a number of seconds.
        """
        self.sleep = sleep
        self._now = now
        self._paused = 0.0  # seconds

    def __call__(self) -> float:
        """Return the robot's time in seconds."""
        return self._now() - self._paused

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock inside a ``with`` block."""
        began = self._now()
        try:
            yield
        finally:
            self._paused += self._now() - began


class Replay:
    """One run over one recording; call ``run``."""

    def __init__(
        self,
        path: Path,
        out: Path,
        pipeline: Pipeline,
        settings: Settings,
        clock: RobotClock | None = None,
    ) -> None:
        """Create a replay of the recording ``path`` that writes into the folder ``out``."""
        self.path, self.out = path, out
        self.pipeline, self.config, self.settings = pipeline, pipeline.config, settings
        self._clock = clock or RobotClock()

    def run(self, conditions: dict[str, Any] | None = None) -> dict[str, Any]:
        """Replay, and write everything into the output folder; ``summary.json`` comes last.

        Args:
            conditions: what the figures depend on beside the settings; part of the summary.

        Returns:
            The content of ``summary.json``. Offline it depends on the recording, the weights and
            the settings alone.

        Raises:
            InputError: nothing can be replayed, or the ground truth cannot be read.
        """
        began = time.perf_counter()
        if self.path.resolve().is_relative_to((self.out / PEOPLE).resolve()):
            raise InputError(
                f"{self.out}: the results would replace {self.path}; choose another --out"
            )
        for name in (KEY, SUMMARY):
            (self.out / name).unlink(missing_ok=True)
        self._write_run()
        self.bag = Bag(self.path)
        try:
            length = (self.bag.end - self.bag.start) / cdr_messages.NS
            if self.settings.start and self.settings.start >= length:
                raise InputError(
                    f"{self.path}: the recording is {max(0, length):.1f} s long; it has no frame "
                    f"after --start {self.settings.start:g}"
                )
            topics = cameras.choose(self.bag, list(self.settings.topics))
            self.prefixes = cameras.prefixes(topics, cameras.recorded_cameras(self.bag))
            file = Path(self.settings.truth) if self.settings.truth else None
            self.truth = ground_truth.load(self.bag, self.prefixes, file, self.settings.truth_topic)
            if self.truth.by_index and self.settings.start:
                raise InputError(
                    f"{file}: MOTS text counts frames from the beginning of the recording and "
                    f"cannot be used with --start"
                )
            self._begin(topics)
            try:
                self._play()
            finally:
                self.output.close()
            summary = self._summary(conditions or {})
        finally:
            self.bag.close()
        write_report(self.out / "report.html", summary, self.cameras)
        seconds, frames = time.perf_counter() - began, summary["frames"]
        self._write_run(seconds=round(seconds, 2), frames_per_second=round(frames / seconds, 2))
        write_json(self.out / SUMMARY, summary)
        return summary

    def _write_run(self, **more: Any) -> None:
        """Write what differs from machine to machine and from run to run."""
        where = {"bag": str(self.path.resolve()), "host": platform.node(), "pid": os.getpid()}
        write_json(self.out / RUN, {**where, **more})

    def _begin(self, topics: list[str]) -> None:
        self.sessions = {
            topic: Session(
                self.pipeline, self.settings.min_score, warn=partial(_log.debug, "%s: %s", topic)
            )
            for topic in topics
        }
        self.cameras = {topic: CameraStats(topic) for topic in topics}
        self.evaluator = Evaluator() if self.truth else None
        self.output = Output(self.out, self.settings.storage)
        self._newest: dict[str, int] = {}  # ns, last stamp that was processed, by topic
        self._count = 0

    def _play(self) -> None:
        start = self.bag.start + round(self.settings.start * cdr_messages.NS)
        stop = self.bag.end
        if self.settings.duration:
            stop = min(stop, start + round(self.settings.duration * cdr_messages.NS))
        recorded = self._read(self.bag.messages(set(self.prefixes), start, stop))
        if self.settings.realtime:
            pace = cameras.paced(
                recorded, self.settings.rate, self._drop, self._clock, self._clock.sleep
            )
            for message, arrived in pace:
                self._process(message, arrived)
            return
        total = sum(self.bag.counts[topic] for topic in self.prefixes)
        shown = tqdm(recorded, self.path.name, total, unit="frame", disable=None, leave=False)
        for message in shown:
            self._process(message)

    def _read(self, recorded: Iterator[Message]) -> Iterator[Message]:
        while True:
            with self._clock.paused():
                message = next(recorded, None)
            if message is None:
                return
            self.cameras[message.topic].received += 1
            yield message

    def _drop(self, message: Message) -> None:
        self.cameras[message.topic].dropped += 1

    def _process(self, message: Message, arrived: float | None = None) -> None:
        """Process one image message, write its people and evaluate them, or count why not."""
        skipped, topic = self.bag.skipped, message.topic
        if not message.data:
            skipped.add(topic, "zero-length message")
            return
        reason = "message does not decode"
        try:
            content = cdr_messages.decode(message.data, message.kind)
            reason = "image does not decode"
            image = cdr_messages.image_of(content)
        except InputError as error:
            skipped.add(topic, reason, error)
            return
        session, stamped = self.sessions[topic], cdr_messages.stamp_of(content.header)
        timing = session.check(
            stamped / cdr_messages.NS if stamped else None, message.time / cdr_messages.NS
        )
        if isinstance(timing, Skip):
            back = (self._newest[topic] - stamped) / cdr_messages.NS
            skipped.add(topic, SKIPPED[timing], f"by {back:.3f} s" if back else "")
            return
        if stamped:
            self._newest[topic] = stamped
        stamp = stamped or message.time  # a driver that does not stamp
        frame = Frame(image, stamp / cdr_messages.NS)
        result = session.process(frame, timing)
        if arrived is not None:
            self.cameras[topic].latency.append((self._clock() - arrived) * 1e3)
        with self._clock.paused():
            self._write(message, content.header.frame_id, frame, stamp, result)

    def _write(
        self, message: Message, frame_id: str, frame: Frame, stamp: int, result: Result
    ) -> None:
        topic, people = message.topic, result.people
        header = cdr_messages.header(stamp, frame_id)
        self.output.persons(self.prefixes[topic], message, header, people)
        self.output.switches(self.prefixes[topic], message, header, result.switches)
        self._count += 1
        width, height = frame.size
        image = {
            "id": self._count,
            "file_name": f"{stamp}",
            "width": width,
            "height": height,
            "topic": topic,
            "stamp_ns": stamp,
        }
        self.output.texts(image, message.index + 1, people)
        error = self._evaluate(image, people, self.truth.find(topic, stamp, message.index))
        seconds = (message.time - self.bag.start) / cdr_messages.NS
        self.cameras[topic].add(seconds, frame, stamp, people, result.switches, error)

    def _evaluate(
        self, image: dict[str, Any], people: People, truth: ground_truth.Annotations | None
    ) -> float | None:
        """Return the error of a frame, None where there is no ground truth."""
        if self.evaluator is None or truth is None:
            return None
        try:
            return self.evaluator.add(image, people, truth)
        except InputError as error:
            self.bag.skipped.add(image["topic"], "ground truth does not fit the image", error)
            return None

    def _summary(self, conditions: dict[str, Any]) -> dict[str, Any]:
        if not self._count:
            reasons = "; ".join(
                f"{e['count']} x {e['reason']} ({e['where']})" for e in self.bag.skipped.entries()
            )
            raise InputError(f"{self.path}: no image could be used: {reasons or 'there is none'}")
        figures = self.evaluator.figures() if self.evaluator else None
        if figures is None and (given := self.settings.truth or self.settings.truth_topic):
            self.bag.skipped.add(
                Path(given).name, "no image has this ground truth: stamps or topics differ"
            )
        settings = asdict(self.settings)
        if settings["truth"]:
            settings["truth"] = Path(settings["truth"]).name
        return {
            "bag": self.path.name,
            "clock": "real time" if self.settings.realtime else "offline",
            "frames": self._count,
            "cameras": {topic: camera.figures() for topic, camera in self.cameras.items()},
            "stamps": {topic: asdict(session.counts) for topic, session in self.sessions.items()},
            "truth": figures,
            "skipped": self.bag.skipped.entries(),
            "settings": settings,
            "conditions": {"decoder": asdict(self.config), **conditions},
        }
