"""The demo: a camera, the node and a recorder as three processes over real DDS."""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kdc_core.errors import InputError, is_user_error, one_line
from kdc_core.io import open_source
from kdc_ros import demo_clip
from kdc_ros.environment import image_environment, loopback

START = 60.0  # seconds until the network is loaded and the processes have found each other
DRAIN = 2.0  # seconds after the last image in which its results arrive
STOP = 20.0  # seconds that a process gets to stop
DEFAULT_FPS = 30.0  # of sources without a rate


class Demo:
    """Starts the three processes and ends exactly those, by their process ids."""

    def __init__(self) -> None:
        domain = 1 + os.getpid() % 100  # not 0, which other nodes use
        self._environment = {**os.environ, **image_environment(), **loopback(domain)}
        self._children: dict[str, subprocess.Popen[str]] = {}

    def start(self, module: str, *remaps: str, **parameters: object) -> None:
        """Run ``python -m kdc_ros.<module>`` with ROS parameters.

        The process is in a session of its own, so Ctrl-C reaches this process alone, which then
        ends the others in order.
        """
        options = [f"{name}:={json.dumps(value)}" for name, value in parameters.items()]
        arguments = [word for option in options for word in ("-p", option)]
        arguments += [word for remap in remaps for word in ("-r", remap)]
        self._children[module] = subprocess.Popen(
            [sys.executable, "-m", f"kdc_ros.{module}", "--ros-args", *arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def line(self, module: str, timeout: float) -> dict[str, Any] | None:
        """Return the next line of JSON that a process prints; None after ``timeout`` seconds.

        Raises:
            InputError: one of the processes ended with an error, which it has printed.
        """
        stdout, end = self._children[module].stdout, time.monotonic() + timeout
        assert stdout is not None
        while time.monotonic() < end:
            if select.select([stdout], [], [], 0.2)[0] and (text := stdout.readline()):
                line: dict[str, Any] = json.loads(text)
                return line
            for name, child in self._children.items():
                if child.poll():
                    raise InputError(f"the {name} process failed, see above")
        return None

    def stop(self, module: str) -> None:
        """Send SIGINT to one process, and SIGKILL if it does not end."""
        child = self._children.get(module)
        if child is None or child.poll() is not None:
            return
        child.send_signal(signal.SIGINT)
        try:
            child.wait(STOP)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def last_line(self, module: str, timeout: float) -> dict[str, Any]:
        """Return the summary of a process; it is stopped if it runs for ``timeout`` seconds."""
        try:
            summary = self.line(module, timeout)
        except KeyboardInterrupt:
            summary = None
        self.stop(module)
        return summary or self.line(module, 1.0) or {}


def run(source: str, model: str, out: Path, seconds: float) -> dict[str, Any]:
    """Record ``source`` with its people to ``out``.

    Args:
        source: video file or number of a webcam.
        model: ONNX file; empty for the model of KDC.
        out: video to write.
        seconds: stop earlier; 0 for the whole source.

    Returns:
        Figures: published, processed, written, persons, most, p50_ms, p95_ms.

    Raises:
        InputError: the source cannot be read, or a process failed.
    """
    fps, count = _rate(source)
    seconds = seconds or (count / fps + START if count else float("inf"))
    out.parent.mkdir(parents=True, exist_ok=True)
    demo = Demo()
    try:
        print("starting the node and a recorder", flush=True)
        demo.start("node", model=model)
        demo.start(
            "recorder", "persons:=/kdc/persons", "overlay:=/kdc/overlay", out=str(out), fps=fps
        )
        if demo.line("recorder", START) is None:
            raise InputError(f"node and recorder did not find each other within {START:.0f} s")
        frames = f"{count} frames" if count else "until Ctrl-C"
        print(f"starting the camera: {source}, {frames}, {fps:g} fps", flush=True)
        demo.start("camera", source=source, wait_for_subscribers=1)
        published = demo.last_line("camera", seconds)
        time.sleep(DRAIN)
        return {**published, **demo.last_line("recorder", 0)}
    finally:
        for module in ("camera", "recorder", "node"):
            demo.stop(module)


def _rate(source: str) -> tuple[float, int | None]:
    """Return fps and number of frames; a webcam is released again for the camera process."""
    opened = open_source(source)
    return opened.fps or DEFAULT_FPS, opened.count


def main() -> int:
    """Run ``python -m kdc_ros.demo``; exit code 2 if it cannot run."""
    parser = argparse.ArgumentParser(prog="kdc_ros.demo", description=__doc__)
    parser.add_argument(
        "--source", help="video file or number of a webcam (default: a clip of walking people)"
    )
    parser.add_argument("--model", default="", help="ONNX file (default: the model of KDC)")
    parser.add_argument("--out", type=Path, default=Path("out/demo.mp4"), help="video to write")
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="stop earlier (default: the whole source)"
    )
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children are ended
    try:
        source = args.source or str(demo_clip.fetch())
        figures = run(source, args.model, args.out, args.seconds)
    except KeyboardInterrupt:  # later, Ctrl-C ends the recording and its figures are printed
        return 130
    except Exception as error:
        if not is_user_error(error):
            raise
        print(f"demo: {one_line(error)}", file=sys.stderr)
        return 2
    share = figures["processed"] / max(1, figures["published"])
    mean = figures["persons"] / max(1, figures["processed"])
    print(
        f"{args.out}: {figures['published']} frames in, {figures['processed']} processed "
        f"({share:.1%}), {mean:.1f} people per frame (at most {figures['most']}), "
        f"latency p50 {figures['p50_ms']:.0f} ms, p95 {figures['p95_ms']:.0f} ms"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
