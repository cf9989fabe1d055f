"""Write ``report.html``: one page that loads nothing from anywhere."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Any

from kdc_core.types import Phase
from kdc_lab.evaluate import Bar, Series, curves, histogram, timeline
from kdc_lab.replay.camera_stats import WORST, CameraStats, WorstFrame, describe_stamps

ROWS = 60  # ids in the timeline of one camera
PHASES = {
    Phase.TENTATIVE: ("#c9b458", "tentative"),
    Phase.CONFIRMED: ("#2f6fb0", "visible"),
    Phase.OCCLUDED: ("#d1495b", "occluded"),
}
HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
body{{font:15px/1.45 system-ui,sans-serif;color:#222;max-width:62rem;
margin:2rem auto;padding:0 1rem}}
h1{{font-size:1.5rem}}h2{{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ddd}}
h3{{font-size:1rem;font-weight:600}}svg{{max-width:100%;height:auto}}
table{{border-collapse:collapse;margin:.6rem 0}}td,th{{padding:.2rem .7rem;text-align:left;
border-bottom:1px solid #eee;vertical-align:top}}td.n{{text-align:right;
font-variant-numeric:tabular-nums}}
figure{{display:inline-block;margin:.3rem .5rem .8rem 0;max-width:25rem}}
figure.wide{{max-width:100%}}
figcaption{{font-size:.85rem;color:#555}}img{{max-width:100%;display:block}}
.key span{{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}}
</style></head><body>
"""


def write_report(path: Path, summary: dict[str, Any], cameras: dict[str, CameraStats]) -> None:
    """Write the report of one replay.

    Args:
        path: of the HTML file.
        summary: content of ``summary.json``.
        cameras: statistics by image topic.
    """
    parts = [f"<h1>{escape(summary['bag'])}</h1>", table(_overview(summary))]
    if summary["truth"]:
        parts += ["<h2>Compared with the ground truth</h2>", table(truth_rows(summary["truth"]))]
    if summary["skipped"]:
        parts += ["<h2>Skipped</h2>", skipped_table(summary["skipped"])]
    for topic, camera in cameras.items():
        if camera.times:
            parts += [f"<h2>{escape(topic)}</h2>", _camera(camera)]
    parts += ["<h2>Worst frames</h2>", *_worst(cameras)]
    parts += ["<h2>Conditions</h2>", table(_conditions(summary))]
    write_page(path, f"Replay of {summary['bag']}", parts)


def write_page(path: Path, title: str, parts: list[str]) -> None:
    """Write a page; ``parts`` are HTML, ``title`` is text."""
    text = HEAD.format(title=escape(title)) + "\n".join(parts) + "\n</body></html>\n"
    path.write_text(text, encoding="utf-8")


def figure(jpeg: bytes, caption: str, wide: bool = False) -> str:
    """Return an image with its caption as HTML; ``wide`` for two images side by side."""
    data = base64.b64encode(jpeg).decode()
    text = escape(caption)
    image = f'<img alt="{text}" src="data:image/jpeg;base64,{data}">'
    kind = ' class="wide"' if wide else ""
    return f"<figure{kind}>{image}<figcaption>{text}</figcaption></figure>"


def truth_rows(truth: dict[str, Any]) -> list[list[Any]]:
    """Return rows (name, value) of the figures against a ground truth."""
    rows = [["frames with ground truth", truth["frames"]], ["annotated people", truth["people"]]]
    for name, key in (("mask AP", "segm"), ("keypoint AP", "keypoints")):
        if truth[key]["AP"] is not None:
            rows += [[name, truth[key]["AP"]], [f"{name}50", truth[key]["AP50"]]]
    if truth["same_person"]["share"] is not None:
        rows.append(["mask and skeleton by the same prediction", truth["same_person"]["share"]])
    for name, value in (truth["tracks"] or {}).items():
        rows.append([name.replace("_", " "), "-" if value is None else value])
    return rows


def skipped_table(entries: list[dict[str, Any]]) -> str:
    """Return what was skipped as an HTML table; ``entries`` are ``skipped`` of a summary."""
    rows = [[e["count"], e["reason"], e["where"], e["first"]] for e in entries]
    return table(rows, ["count", "reason", "where", "first case"])


def table(rows: list[list[Any]], head: list[str] | None = None) -> str:
    """Return an HTML table; numbers are right-aligned."""
    lines = []
    if head:
        lines.append("<tr>" + "".join(f"<th>{escape(text)}</th>" for text in head) + "</tr>")
    for row in rows:
        lines.append("<tr>" + "".join(_cell(value) for value in row) + "</tr>")
    return f"<table>{''.join(lines)}</table>"


def _overview(summary: dict[str, Any]) -> list[list[Any]]:
    rows: list[list[Any]] = [["clock", summary["clock"]], ["frames", str(summary["frames"])]]
    for topic, figures in summary["cameras"].items():
        text = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())
        rows.append([topic, text])
    for topic, counts in summary["stamps"].items():
        if text := describe_stamps(counts):
            rows.append([f"stamps of {topic}", text])
    return rows


def _camera(camera: CameraStats) -> str:
    count = [Series("people", camera.times, camera.people, steps=True)]
    parts = ["<h3>People over time</h3>", curves(count, "seconds", "people")]
    if camera.stays:
        parts += ["<h3>Timeline of ids</h3>", _key(), _timeline(camera)]
    if camera.latency:
        parts += [
            "<h3>Latency</h3>",
            histogram(camera.latency, "ms from arrival to result", "frames"),
        ]
    return "\n".join(parts)


def _key() -> str:
    entries = [*PHASES.values(), ("#111;width:2px", "centroid switches")]
    spans = (f'<span style="background:{colour}"></span>{name}' for colour, name in entries)
    return f'<p class="key">{"".join(spans)}</p>'


def _timeline(camera: CameraStats) -> str:
    """Return the timeline of the people that stay longest, ordered by id."""
    seconds: dict[int, float] = {}
    for stay in camera.stays:
        seconds[stay.id] = seconds.get(stay.id, 0.0) + stay.last - stay.first
    shown = set(sorted(seconds, key=lambda i: (-seconds[i], i))[:ROWS])
    bars = [
        Bar(
            str(s.id),
            s.first,
            s.last,
            PHASES.get(Phase(s.phase), ("#888", "untracked"))[0],
            f"id {s.id}, {s.first:.2f} to {s.last:.2f} s",
        )
        for s in sorted(camera.stays, key=lambda s: (s.id, s.first))
        if s.id in shown
    ]
    marks = [(str(i), t, f"{t:.2f} s: {why}") for t, i, why in camera.switches if i in shown]
    rest = len(seconds) - len(shown)
    more = f"<p>{rest} ids with shorter stays are not shown.</p>" if rest else ""
    return timeline(bars, marks, "seconds") + more


def _worst(cameras: dict[str, CameraStats]) -> list[str]:
    found: list[WorstFrame] = sorted(
        (frame for camera in cameras.values() for frame in camera.worst),
        key=lambda frame: -frame.badness,
    )[:WORST]
    return [
        figure(frame.jpeg, f"{frame.topic}, {frame.time:.2f} s, stamp {frame.stamp}: {frame.why}")
        for frame in found
    ]


def _conditions(summary: dict[str, Any]) -> list[list[Any]]:
    rows = [[name, str(value)] for name, value in summary["settings"].items()]
    conditions = dict(summary["conditions"])
    for stage, values in conditions.pop("decoder").items():
        rows.append([f"decoder: {stage}", ", ".join(f"{k} {v}" for k, v in values.items())])
    return rows + [[name, str(value)] for name, value in conditions.items()]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'<td class="n">{value:.4f}</td>'
    kind = ' class="n"' if isinstance(value, int) else ""
    return f"<td{kind}>{escape(str(value))}</td>"
