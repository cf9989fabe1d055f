"""Replay many recordings at once, in processes or on a Ray cluster, and write one summary."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kdc_core.config import DecodeConfig
from kdc_core.engines import open_engine
from kdc_core.errors import is_user_error, one_line
from kdc_core.io import write_json
from kdc_core.pipeline import open_pipeline
from kdc_lab.replay.html_report import skipped_table, table, write_page
from kdc_lab.replay.play import KEY, SUMMARY, Replay, Settings

ATTEMPTS = 3  # for a recording whose worker process dies


@dataclass(frozen=True)
class Task:
    """One recording and everything that its result depends on; it is sent to the worker."""

    bag: str
    out: str
    #: name, model file, threads, longest side, flip test: arguments of ``open_engine``
    engine: tuple[str, str | None, int, int | None, bool]
    config: DecodeConfig
    settings: Settings
    conditions: dict[str, Any]

    def key(self) -> str:
        """Return a hash that changes with the recording and with every setting."""
        files = [Path(self.bag)]
        if files[0].is_dir():
            files = sorted(p for p in files[0].iterdir() if p.is_file())
        state = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files]
        settings = [asdict(self.config), asdict(self.settings), self.conditions, self.engine]
        return hashlib.sha256(json.dumps([state, settings]).encode()).hexdigest()

    def done(self) -> bool:
        """Return True if an earlier run has finished this task."""
        key = Path(self.out) / KEY
        return (Path(self.out) / SUMMARY).is_file() and _read(key).get("key") == self.key()


def run(task: Task) -> str:
    """Replay one recording.

    Returns:
        An empty text, or why it could not be replayed.
    """
    name, model, threads, long_side, flip = task.engine
    out = Path(task.out)
    try:
        key = task.key()  # before the replay: the recording may change meanwhile
        engine = open_engine(name, Path(model) if model else None, threads, long_side, flip)
        try:
            pipeline = open_pipeline(engine, task.config)
            replay = Replay(Path(task.bag), out, pipeline, task.settings)
            replay.run({"engine": engine.name, **task.conditions})
        finally:
            engine.close()
        write_json(out / KEY, {"key": key})
    except Exception as error:
        if not is_user_error(error):
            raise
        return one_line(error)
    return ""


def run_all(tasks: list[Task], jobs: int, ray: str | None) -> dict[str, str]:
    """Run the tasks that are not done yet; if a worker dies, its recording is replayed again.

    Args:
        tasks: one per recording.
        jobs: number of recordings that are replayed at a time.
        ray: None: processes on this machine; "local": a new local Ray instance; or the address of a
            Ray cluster.

    Returns:
        For each recording that could not be replayed: path → reason.
    """
    waiting = [task for task in tasks if not task.done()]
    results = _on_ray(waiting, jobs, ray) if ray else _here(waiting, jobs)
    failed = {}
    with tqdm(total=len(tasks), unit="bag", disable=None, initial=len(tasks) - len(waiting)) as bar:
        for task, why in results:
            bar.update()
            if why:
                failed[task.bag] = why
    return failed


def merge(tasks: list[Task], failed: dict[str, str], out: Path) -> dict[str, Any]:
    """Write one ``summary.json`` and ``report.html`` for all recordings, and return the summary.

    Figures against the ground truth are means over the recordings that have one.
    """
    found = {Path(t.bag).name: _read(Path(t.out) / SUMMARY) for t in tasks if t.bag not in failed}
    skipped = [
        {**entry, "where": f"{name}: {entry['where']}"}
        for name, summary in found.items()
        for entry in summary["skipped"]
    ]
    skipped += [
        {
            "where": Path(bag).name,
            "reason": "recording cannot be replayed",
            "count": 1,
            "first": why,
        }
        for bag, why in failed.items()
    ]
    merged = {
        "bags": {name: _short(summary) for name, summary in found.items()},
        "frames": sum(summary["frames"] for summary in found.values()),
        "stamps": {
            f"{name}: {topic}": counts
            for name, summary in found.items()
            for topic, counts in summary["stamps"].items()
        },
        "truth": mean_figures([s["truth"] for s in found.values() if s["truth"]]),
        "skipped": skipped,
    }
    rows = [
        [name, *(("-" if value is None else value) for value in short.values())]
        for name, short in merged["bags"].items()
    ]
    head = ["recording", "frames", "people per frame", "mask AP", "keypoint AP", "HOTA", "IDF1"]
    parts = ["<h1>Recordings</h1>", table(rows, head)]
    if skipped:
        parts += ["<h2>Skipped</h2>", skipped_table(skipped)]
    write_page(out / "report.html", "Recordings", parts)
    write_json(out / SUMMARY, merged)
    return merged


def _here(tasks: list[Task], jobs: int) -> Iterator[tuple[Task, str]]:
    """Replay every recording in a process of its own, so that all its memory is freed."""
    context = multiprocessing.get_context("spawn")
    queue = [(task, 1) for task in reversed(tasks)]
    running: list[tuple[Any, Any, Task, int]] = []
    try:
        while queue or running:
            while queue and len(running) < jobs:
                task, attempt = queue.pop()
                receive, send = context.Pipe(duplex=False)
                process = context.Process(target=_report, args=(task, send))
                process.start()
                send.close()
                running.append((process, receive, task, attempt))
            time.sleep(0.05)
            for entry in [entry for entry in running if not entry[0].is_alive()]:
                running.remove(entry)
                process, receive, task, attempt = entry
                process.join()
                if process.exitcode == 0:
                    yield task, receive.recv()
                elif attempt < ATTEMPTS:
                    queue.append((task, attempt + 1))
                else:
                    yield task, f"its process died {attempt} times (exit code {process.exitcode})"
                receive.close()
    finally:
        for process, *_ in running:
            process.terminate()


def _report(task: Task, send: Any) -> None:
    send.send(run(task))


def _on_ray(tasks: list[Task], jobs: int, address: str) -> Iterator[tuple[Task, str]]:
    import ray

    local = address == "local"
    ray.init(
        address="local" if local else address,
        num_cpus=jobs if local else None,
        include_dashboard=False if local else None,
        log_to_driver=False,
    )
    try:
        remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS)(run)
        waiting = {remote.remote(task): task for task in tasks}
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            task = waiting.pop(ready)
            try:
                yield task, ray.get(ready)
            except ray.exceptions.RayError as error:
                yield task, f"ray: {type(error).__name__}"
    finally:
        ray.shutdown()


def _short(summary: dict[str, Any]) -> dict[str, Any]:
    truth = summary["truth"] or {}
    cameras = summary["cameras"].values()
    people = sum(c["people_per_frame"] * c["frames"] for c in cameras) / summary["frames"]
    return {
        "frames": summary["frames"],
        "people_per_frame": round(people, 4),
        "mask_AP": truth.get("segm", {}).get("AP"),
        "keypoint_AP": truth.get("keypoints", {}).get("AP"),
        **{name: (truth.get("tracks") or {}).get(name) for name in ("HOTA", "IDF1")},
    }


def mean_figures(truths: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the means of the figures; None if no recording has a ground truth."""
    if not truths:
        return None

    def mean(section: str, name: str) -> float | None:
        values = [(truth[section] or {}).get(name) for truth in truths]
        known = [value for value in values if value is not None]
        return round(sum(known) / len(known), 9) if known else None

    return {
        "recordings": len(truths),
        "segm": {"AP": mean("segm", "AP")},
        "keypoints": {"AP": mean("keypoints", "AP")},
        "same_person": {"share": mean("same_person", "share")},
        "tracks": {name: mean("tracks", name) for name in ("HOTA", "IDF1")},
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
