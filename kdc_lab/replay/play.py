"""A recording from its first picture to its last: people, figures, report."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Iterator
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
from kdc_lab.replay.camera_stats import Diary
from kdc_lab.replay.evaluator import Judge
from kdc_lab.replay.html_report import write_report
from kdc_lab.replay.result_files import PEOPLE, Output

_log = logging.getLogger(__name__)

#: reason in the report for a frame that the session drops
SKIPPED = {Skip.LATE: "stamp jumps back", Skip.REPEATED: "stamp repeats"}
SUMMARY, RUN = "summary.json", "run.json"
KEY = "task.json"  # of one of many: tells a finished run from one with other settings


@dataclass(frozen=True)
class Settings:
    """What is replayed, and how."""

    topics: tuple[str, ...] = ()  # cameras; empty: all
    start: float = 0.0  # seconds into the recording
    duration: float = 0.0  # seconds, 0 = to the end
    realtime: bool = False
    rate: float = 1.0  # of the recording's pace, real time only
    ground_truth: str = ""  # COCO file or MOTS text beside the recording
    truth_topic: str = ""  # PersonArrays in it; empty: each camera's …/truth/persons
    storage: str = "mcap"  # of the bag that is written
    min_score: float = DEFAULT_MIN_SCORE  # people below are not reported


class Replay:
    """One run of one recording; ``run`` does it all."""

    def __init__(self, path: Path, out: Path, pipeline: Pipeline, settings: Settings) -> None:
        self.path, self.out = path, out
        self.pipeline, self.config, self.settings = pipeline, pipeline.config, settings
        self._aside = 0.0  # seconds spent on what a robot does not do: reading, writing, judging

    def run(self, conditions: dict[str, Any] | None = None) -> dict[str, Any]:
        """Replay, and write everything into the output folder; ``summary.json`` comes last.

        Args:
            conditions: what the figures depend on beyond the settings, for the summary.

        Returns:
            The content of ``summary.json``. Offline it depends on the recording, the weights and
            the settings alone.

        Raises:
            ValueError: nothing can be replayed, or the truth cannot be read.
        """
        began = time.perf_counter()
        if self.path.resolve().is_relative_to((self.out / PEOPLE).resolve()):
            raise InputError(f"{self.out}: the results would replace {self.path}: another --out")
        for name in (KEY, SUMMARY):
            (self.out / name).unlink(missing_ok=True)
        self._note()
        self.bag = Bag(self.path)
        try:
            length = (self.bag.end - self.bag.start) / cdr_messages.NS
            if self.settings.start and self.settings.start >= length:
                raise InputError(
                    f"{self.path}: the recording is {max(0, length):.1f} s long, it has nothing "
                    f"from --start {self.settings.start:g} on"
                )
            topics = cameras.choose(self.bag, list(self.settings.topics))
            self.prefixes = cameras.prefixes(topics, cameras.recorded_cameras(self.bag))
            file = Path(self.settings.truth) if self.settings.truth else None
            self.truth = ground_truth.load(self.bag, self.prefixes, file, self.settings.truth_topic)
            if self.truth.by_index and self.settings.start:
                raise InputError(f"{file}: counts frames from the beginning: leave --start out")
            self._begin(topics)
            try:
                self._play()
            finally:
                self.output.close()
            summary = self._summary(conditions or {})
        finally:
            self.bag.close()
        write_report(self.out / "report.html", summary, self.diaries)
        seconds, frames = time.perf_counter() - began, summary["frames"]
        self._note(seconds=round(seconds, 2), frames_per_second=round(frames / seconds, 2))
        write_json(self.out / SUMMARY, summary)
        return summary

    def _note(self, **more: Any) -> None:
        """What differs from machine to machine and from run to run."""
        where = {"bag": str(self.path.resolve()), "host": platform.node(), "pid": os.getpid()}
        write_json(self.out / RUN, {**where, **more})

    def _begin(self, topics: list[str]) -> None:
        self.sessions = {
            topic: Session(self.pipeline, self.settings.min_score, warn=partial(self._warn, topic))
            for topic in topics
        }
        self.diaries = {topic: Diary(topic) for topic in topics}
        self.judge = Judge() if self.truth else None
        self.output = Output(self.out, self.settings.storage)
        self._count = 0

    def _play(self) -> None:
        start = self.bag.start + round(self.settings.start * cdr_messages.NS)
        stop = self.bag.end
        if self.settings.duration:
            stop = min(stop, start + round(self.settings.duration * cdr_messages.NS))
        recorded = self._received(self.bag.messages(set(self.prefixes), start, stop))
        if self.settings.realtime:
            pace = cameras.paced(recorded, self.settings.rate, self._dropped, self._clock)
            for message, arrived in pace:
                self._frame(message, arrived)
            return
        total = sum(self.bag.counts[topic] for topic in self.prefixes)
        shown = tqdm(recorded, self.path.name, total, unit="frame", disable=None, leave=False)
        for message in shown:
            self._frame(message)

    def _received(self, recorded: Iterator[Message]) -> Iterator[Message]:
        while True:
            began = time.perf_counter()
            message = next(recorded, None)
            self._aside += time.perf_counter() - began
            if message is None:
                return
            self.diaries[message.topic].received += 1
            yield message

    def _clock(self) -> float:
        """Seconds that stand still while something is done that a robot does not do."""
        return time.perf_counter() - self._aside

    def _warn(self, topic: str, text: str) -> None:
        """Note that the stamps of a camera are wrong; its frames are processed."""
        _log.warning("%s: %s", topic, text)

    def _dropped(self, message: Message) -> None:
        self.diaries[message.topic].dropped += 1

    def _frame(self, message: Message, arrived: float | None = None) -> None:
        """One picture to people, written and judged; or skipped and counted."""
        skipped, topic = self.bag.skipped, message.topic
        if not message.data:
            skipped.add(topic, "zero-length message")
            return
        reason = "message does not decode"
        try:
            content = cdr_messages.decode(message.data, message.kind)
            reason = "picture does not decode"
            image = cdr_messages.picture(content)
        except ValueError as error:
            skipped.add(topic, reason, error)
            return
        session, stamped = self.sessions[topic], cdr_messages.stamp_of(content.header)
        timing = session.check(
            stamped / cdr_messages.NS if stamped else None, message.time / cdr_messages.NS
        )
        if isinstance(timing, Skip):
            skipped.add(topic, SKIPPED[timing])
            return
        stamp = stamped or message.time  # drivers that do not stamp
        frame = Frame(image, stamp / cdr_messages.NS)
        result = session.process(frame, timing)
        if arrived is not None:
            self.diaries[topic].latency.append((self._clock() - arrived) * 1e3)
        began = time.perf_counter()
        self._write(message, content.header, frame, stamp, result)
        self._aside += time.perf_counter() - began

    def _write(self, message: Message, head: Any, frame: Frame, stamp: int, result: Result) -> None:
        topic, people, moved = message.topic, result.people, result.switches
        head = cdr_messages.header(stamp, head.frame_id)
        self.output.persons(self.prefixes[topic], message, head, people)
        self.output.switches(self.prefixes[topic], message, head, moved)
        self._count += 1
        width, height = frame.size
        entry = {
            "id": self._count, "file_name": f"{stamp}", "width": width, "height": height,
            "topic": topic, "stamp_ns": stamp,
        }  # fmt: skip
        self.output.texts(entry, message.index + 1, people)
        wrong = self._judged(entry, people, self.truth.find(topic, stamp, message.index))
        seconds = (message.time - self.bag.start) / cdr_messages.NS
        self.diaries[topic].add(seconds, frame, stamp, people, moved, wrong)

    def _judged(
        self, image: dict[str, Any], people: People, known: ground_truth.Annotations | None
    ) -> float | None:
        """How wrong a frame is; None where that is not known."""
        if self.judge is None or known is None:
            return None
        try:
            return self.judge.add(image, people, known)
        except ValueError as error:
            self.bag.skipped.add(image["topic"], "truth does not fit the picture", error)
            return None

    def _summary(self, conditions: dict[str, Any]) -> dict[str, Any]:
        if not self._count:
            reasons = "; ".join(
                f"{e['count']} x {e['reason']} ({e['where']})" for e in self.bag.skipped.entries()
            )
            raise InputError(
                f"{self.path}: none of its pictures could be used: {reasons or 'none'}"
            )
        figures = self.judge.figures() if self.judge else None
        if figures is None and (asked := self.settings.truth or self.settings.truth_topic):
            self.bag.skipped.add(Path(asked).name, "no picture has this truth: stamps or topics")
        settings = asdict(self.settings)
        if settings["truth"]:
            settings["truth"] = Path(settings["truth"]).name
        return {
            "bag": self.path.name,
            "clock": "real time" if self.settings.realtime else "offline",
            "frames": self._count,
            "cameras": {topic: diary.figures() for topic, diary in self.diaries.items()},
            "truth": figures,
            "skipped": self.bag.skipped.entries(),
            "settings": settings,
            "conditions": {"decoder": asdict(self.config), **conditions},
        }
