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

from kdc_core.errors import InputError
from kdc_core.io import open_source
from kdc_ros import demo_clip
from kdc_ros.environment import loopback, pictures

START = 60.0  # seconds until the network is loaded and everybody has found each other
DRAIN = 2.0  # seconds after the last picture in which results may still come
STOP = 20.0  # seconds that a process has to stop


class Demo:
    """Starts the three processes and ends exactly those, by their process ids."""

    def __init__(self) -> None:
        domain = 1 + os.getpid() % 100  # a private one: 0 is everybody's
        self._environment = {**os.environ, **pictures(), **loopback(domain)}
        self._children: dict[str, subprocess.Popen[str]] = {}

    def start(self, module: str, *remaps: str, **parameters: object) -> None:
        """Run ``python -m kdc_ros.<module>`` with ROS parameters.

        In a session of its own: Ctrl-C reaches this process alone, which ends them in order.
        """
        options = [f"{name}:={json.dumps(value)}" for name, value in parameters.items()]
        arguments = [word for option in options for word in ("-p", option)]
        arguments += [word for remap in remaps for word in ("-r", remap)]
        self._children[module] = subprocess.Popen(
            [sys.executable, "-m", f"kdc_ros.{module}", "--ros-args", *arguments],
            env=self._environment, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def line(self, module: str, timeout: float) -> dict | None:
        """Next line of JSON that a process prints, None when the time is over.

        Raises:
            ValueError: one of the processes ended with an error.
        """
        stdout, end = self._children[module].stdout, time.monotonic() + timeout
        while time.monotonic() < end:
            if select.select([stdout], [], [], 0.2)[0] and (text := stdout.readline()):
                return json.loads(text)
            for name, child in self._children.items():
                if child.poll():
                    raise InputError(f"the {name} process ended, see above")
        return None

    def stop(self, module: str) -> None:
        """Ctrl-C for one process, SIGKILL if that does not end it."""
        child = self._children.get(module)
        if child is None or child.poll() is not None:
            return
        child.send_signal(signal.SIGINT)
        try:
            child.wait(STOP)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def last_line(self, module: str, timeout: float) -> dict:
        """Summary of a process that ends within ``timeout`` seconds, or is then told to."""
        try:
            summary = self.line(module, timeout)
        except KeyboardInterrupt:
            summary = None
        self.stop(module)
        return summary or self.line(module, 1.0) or {}


def run(source: str, model: str, out: Path, seconds: float) -> dict:
    """Record ``source`` with its people to ``out``.

    Returns:
        Figures: published, processed, written, persons, most, p50_ms, p95_ms.

    Raises:
        ValueError: the source cannot be read or a process failed.
    """
    fps, count = _rate(source)
    seconds = seconds or (count / fps + START if count else float("inf"))
    out.parent.mkdir(parents=True, exist_ok=True)
    demo = Demo()
    try:
        print("starting the node and a recorder", flush=True)
        demo.start("node", model=model)
        demo.start("record", "persons:=/kdc/persons", "overlay:=/kdc/overlay",
                   out=str(out), fps=fps)  # fmt: skip
        if demo.line("record", START) is None:
            raise InputError(f"node and recorder did not find each other in {START:.0f} s")
        frames = f"{count} frames" if count else "until Ctrl-C"
        print(f"starting the camera: {source}, {frames}, {fps:g} frames/s", flush=True)
        demo.start("camera", source=source, wait_for_subscribers=1)
        published = demo.last_line("camera", seconds)
        time.sleep(DRAIN)
        return {**published, **demo.last_line("record", 0)}
    finally:
        for module in ("camera", "record", "node"):
            demo.stop(module)


def _rate(source: str) -> tuple[float, int | None]:
    """Frames per second and their number; a webcam is released again for the camera process."""
    opened = open_source(source)
    return opened.fps or 30.0, opened.count


def main() -> int:
    """``python -m kdc_ros.demo``; exit code 2 when it cannot run."""
    parser = argparse.ArgumentParser(prog="kdc_ros.demo", description=__doc__)
    parser.add_argument("--source", help="video file or number of a webcam (default: a clip)")
    parser.add_argument("--model", default="", help="ONNX file (default: the one of KDC)")
    parser.add_argument("--out", type=Path, default=Path("out/demo.mp4"), help="video to write")
    parser.add_argument("--seconds", type=float, default=0.0, help="stop early")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children are ended
    try:
        source = args.source or str(demo_clip.fetch())
        figures = run(source, args.model, args.out, args.seconds)
    except ValueError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # later than that, Ctrl-C ends the recording and its figures follow
        return 130
    share = figures["processed"] / max(1, figures["published"])
    mean = figures["persons"] / max(1, figures["processed"])
    print(
        f"{args.out}: {figures['published']} frames in, {figures['processed']} processed "
        f"({share:.1%}), {mean:.1f} persons per frame (most {figures['most']}), "
        f"latency p50 {figures['p50_ms']:.0f} ms, p95 {figures['p95_ms']:.0f} ms"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
