"""The report as a browser shows it: everything inside the page, nothing asked from anywhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest

from kdc_lab.evaluate.plots import Bar, Series, curves, histogram, timeline
from tests.replay.recordings import Recording

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--window-size=1000,1800", "--virtual-time-budget=2000",
)  # fmt: skip


@pytest.fixture
def page(play, tmp_path):
    recording = Recording(frames=30, truth=True)
    path = recording.write(tmp_path / "bag")
    (path / "metadata.yaml").unlink()  # so that something is skipped
    _, out = play(recording, path, realtime=True, rate=5)
    return out / "report.html"


def browse(page, tmp_path, *more: str) -> str:
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *more, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium: apt install chromium")
def test_report_in_chromium_shows_everything_and_loads_nothing(page, tmp_path):
    log, shot = tmp_path / "net.json", tmp_path / "report.png"
    dom = browse(page, tmp_path, "--dump-dom", f"--log-net-log={log}")
    for title in (
        "Compared with the ground truth",
        "Skipped",
        "People over time",
        "Timeline of ids",
        "Latency",
        "Worst frames",
        "Conditions",
    ):
        assert f">{title}</h" in dom
    asked = set(re.findall(r'"url":"https?://([^/"]*)', log.read_text()))
    # the browser itself looks for updates and accounts, whatever page it shows
    assert {
        host for host in asked if not host.endswith((".google.com", ".googleapis.com"))
    } == set()
    assert "google" not in page.read_text()
    browse(page, tmp_path, f"--screenshot={shot}")
    image = cv2.imread(str(shot))
    assert image.shape == (1800, 1000, 3)
    blue = np.abs(image.astype(int) - (0xB0, 0x6F, 0x2F)).max(axis=2) < 8  # curves and bars
    assert blue.sum() > 3000
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 2000  # thumbnails


def test_report_has_no_external_links(page):
    text = page.read_text()
    sources = re.findall(r'(?:src|href|url|action)\s*[=(]\s*["\']?([^"\')\s>]{0,40})', text)
    assert sources and all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "<script" not in text and "default-src 'none'" in text


def test_report_escapes_names_of_a_recording(play, tmp_path):
    recording = Recording(frames=2, topic="/<img src=x onerror=alert(1)>/image_raw")
    _, out = play(recording, recording.write(tmp_path / "a&b"))
    text = (out / "report.html").read_text()
    assert "<img src=x" not in text and "&lt;img src=x" in text and "a&amp;b" in text


def test_plots_place_values():
    svg = curves([Series("a", [0, 10], [0, 4])], "s", "n")
    assert 'd="M62.0 196.0L744.0 14.0"' in svg  # from corner to corner of the axes
    assert [t for t in (0, 2, 4, 6, 8, 10) if f">{t}</text>" not in svg] == []
    bars = timeline([Bar("1", 0, 5, "#000", "one"), Bar("2", 5, 10, "#000", "<two>")],
                    [("2", 7.5, "moved")], "s")  # fmt: skip
    assert "&lt;two&gt;" in bars and 'width="341.0"' in bars and "moved" in bars
    assert histogram([1.0] * 5 + [2.0], "ms", "n", 2).count("<rect") == 2
    json.dumps(svg)


@pytest.mark.parametrize("x, y", [([1.0], [5.0]), ([0.0, 0.0], [1.0, 1.0]), ([-3, 2], [-1, -2])])
def test_curves_of_few_points(x, y):
    svg = curves([Series("a", x, y)], "s", "n")
    assert "nan" not in svg and svg.count("<svg") == 1
