"""Scenarios of the occlusion benchmark: crossings, pillars, gaps, pans, dropped frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kdc_lab.evaluate.composed_clips import Box, Clip, Drawn, Figure, Path, line
from kdc_lab.evaluate.cutouts import Cutout, Walker

Cast = Callable[[Path, float, float], Figure]  # path, height in pixels, steps per second
GAPS = (0.3, 1.0, 2.0, 5.0)  # seconds during which people are hidden
SIZE = (640, 480)


@dataclass(frozen=True)
class Scenario:
    """A clip, its length and its frame rate."""

    name: str
    clip: Clip
    seconds: float
    rate: float = 30.0  # frames per second
    dropped: float = 0.0  # share of frames that are dropped

    def stamps(self, rng: np.random.Generator) -> np.ndarray:
        """Return the stamps of the frames that are not dropped, in seconds."""
        stamps = np.arange(round(self.seconds * self.rate)) / self.rate
        kept = np.sort(rng.permutation(len(stamps))[: round(len(stamps) * (1 - self.dropped))])
        return stamps[kept]


def drawn(rng: np.random.Generator) -> Cast:
    """Return a cast of drawn figures in random colours."""

    def cast(feet: Path, tall: float, pace: float) -> Figure:
        colour = tuple(int(value) for value in rng.integers(80, 255, 3))
        return Drawn(feet, tall, pace, colour)  # type: ignore[arg-type]

    return cast


def real(people: Sequence[Cutout | Walker], rng: np.random.Generator) -> Cast:
    """Return a cast of cut-out people in random order."""
    order = iter(np.tile(rng.permutation(len(people)), 50).tolist())
    return lambda feet, tall, pace: people[next(order)].walking(feet, tall, pace)


def scenarios(cast: Cast, backgrounds: list[np.ndarray | None]) -> list[Scenario]:
    """Return the scenarios of the benchmark with these figures and backgrounds."""
    scenery = iter(backgrounds * 50)

    def clip(figures: list[Figure], **more: object) -> Clip:
        return Clip(tuple(figures), SIZE, background=next(scenery), **more)  # type: ignore[arg-type]

    def pair(speed: float, tall: float = 300) -> list[Figure]:
        reach = 1.5 * speed
        return [
            cast(line(320 - reach, 440, speed), tall, 1.0),
            cast(line(320 + reach, 455, -speed), tall * 1.08, 1.1),
        ]

    found = [
        Scenario("crossing, slow", clip(pair(80)), 3.0),
        Scenario("crossing", clip(pair(150)), 3.0),
        Scenario("crossing, 15 fps", clip(pair(150)), 3.0, rate=15),
        Scenario("crossing, 60 fps", clip(pair(150)), 3.0, rate=60),
        Scenario("crossing, half dropped", clip(pair(150)), 3.0, dropped=0.5),
        Scenario("crowd of four", clip(_crowd(cast)), 4.0),
        Scenario("pillars", clip(_passers(cast), pillars=lambda t: _PILLARS), 5.0),
        Scenario("rising wall", clip([_stander(cast, 320, 320)], pillars=_wall), 6.0),
        Scenario("pan", clip(_row_of(cast), camera=_pan), 3.0),
    ]
    for gap in GAPS:
        people = [_stander(cast, x, 280) for x in (130.0, 320.0, 510.0)]
        found.append(
            Scenario(f"gap {gap} s", clip(people, pillars=_curtain(gap)), 1.0 + gap + 1.2, rate=15)
        )
        walk = [cast(line(90 - 90.0, 450, 90), 260, 1.0)]
        hidden = [(150.0, 0.0, 150 + 90 * gap + 120, 480.0)]
        if hidden[0][2] < 560:  # longer paths do not fit into the image
            film = clip(walk, pillars=lambda t, boxes=hidden: boxes)
            found.append(Scenario(f"walk behind, gap {gap} s", film, 6.0, rate=15))
    return found


_PILLARS: list[Box] = [(150.0, 0.0, 215.0, 480.0), (400.0, 0.0, 500.0, 480.0)]


def _crowd(cast: Cast) -> list[Figure]:
    ways = ((60, 410, 110), (580, 425, -90), (250, 440, 45), (420, 460, -60))
    return [cast(line(x, y, v), 270 + 10 * i, 1 + 0.1 * i) for i, (x, y, v) in enumerate(ways)]


def _passers(cast: Cast) -> list[Figure]:
    return [
        cast(line(40, 430, 105), 270, 1.0),
        cast(line(600, 450, -105), 290, 1.1),
    ]


def _row_of(cast: Cast) -> list[Figure]:
    return [cast(line(170 + 120 * i, 420 + 10 * i, 10), 220 + 10 * i, 0.5) for i in range(4)]


def _stander(cast: Cast, x: float, tall: float) -> Figure:
    return cast(lambda t: (x, 450.0), tall, 0.3)


def _wall(t: float) -> list[Box]:
    """Cover a person from the feet to the hair within three seconds, then uncover it again."""
    return [(200.0, 455 - 310 * (1 - abs(t / 3 - 1)), 440.0, 480.0)]


def _pan(t: float) -> tuple[float, float]:
    return (250 * float(np.clip(t - 1, 0, 0.5)), 0.0)


def _curtain(gap: float) -> Callable[[float], list[Box]]:
    return lambda t: [(0.0, 0.0, 640.0, 480.0)] if 1.0 <= t < 1.0 + gap else []
