"""Random events: people come, go and hide, camera and clock jump, frames drop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from kdc_core.track import VideoDecoder
from kdc_lab.evaluate.composed_clips import Clip, Drawn, line
from tests.track.clips import fields_of

MOST = 20  # people at a time
SIZE = (320, 256)
RATE = 15.0  # frames per second


@dataclass
class Life:
    """Counts of the events, and of what the decoder reported."""

    frames: int = 0
    dropped: int = 0
    empty: int = 0
    jumps: int = 0  # of the clock, back
    leaps: int = 0  # of the clock, forward
    turns: int = 0  # sudden, of the camera
    most: int = 0  # people visible at once
    ids: set[int] = field(default_factory=set)
    tracks: list[int] = field(default_factory=list)  # number of tracks after each frame


def _random_person(rng: np.random.Generator, t: float, camera: float) -> tuple[float, Drawn]:
    """Return a person who appears now, and the time at which the person leaves."""
    speed, tall = rng.uniform(-60, 60), rng.uniform(50, 170)
    x, y = camera + rng.uniform(0, SIZE[0]), rng.uniform(120, 250)
    path = line(float(x - speed * t), float(y), float(speed))
    return t + rng.exponential(6), Drawn(path, float(tall), float(rng.uniform(0, 2)))


def shots(seconds: float, rng: np.random.Generator, life: Life) -> Iterator[tuple[float, Clip]]:
    """Yield stamps, clock errors and clips of one moment; count the events in ``life``."""
    here: list[tuple[float, Drawn]] = []
    wanted, camera, shift, walls = 3, 0.0, 0.0, []
    for t in np.arange(0, seconds, 1 / RATE).tolist():
        wanted = int(np.clip(wanted + rng.choice([-1, 0, 1], p=[0.02, 0.96, 0.02]), 0, MOST))
        if rng.random() < 0.003:
            wanted = int(rng.integers(0, MOST + 1))  # a bus arrives, or a door closes
        here = [one for one in here if one[0] > t][:wanted]
        here += [_random_person(rng, t, camera) for _ in range(wanted - len(here))]
        if rng.random() < 0.01:
            camera, life.turns = camera + rng.uniform(-150, 150), life.turns + 1
        if rng.random() < 0.02:
            places = camera + rng.uniform(0, SIZE[0], rng.integers(0, 3))
            walls = [(x, 0.0, x + rng.uniform(20, 120), 256.0) for x in places]
        if rng.random() < 0.003:
            shift, life.jumps = shift - rng.uniform(0.1, 30), life.jumps + 1
        if rng.random() < 0.003:
            shift, life.leaps = shift + rng.uniform(0.3, 9), life.leaps + 1
        if rng.random() < 0.1 * (1 + np.sin(t / 7)) ** 2:
            life.dropped += 1
            continue
        blank = rng.random() < 0.01
        life.empty += blank or not here
        figures = () if blank else tuple(figure for _, figure in here)
        clip = Clip(figures, SIZE, lambda _, w=tuple(walls): list(w), lambda _, c=camera: (c, 0.0))
        yield t, shift, clip


def live(seconds: float, seed: int, watch=lambda t: None) -> Life:
    """Play random events to a decoder and check each result; ``watch`` gets the clip's time."""
    rng, life, decoder = np.random.default_rng(seed), Life(), VideoDecoder()
    forget, last, gone, dead = decoder.tracker.config.lifecycle.forget_after, None, {}, set()
    before: set[int] = set()
    for t, shift, clip in shots(seconds, rng, life):
        shot, stamp = clip.at(t), t + shift
        people = decoder(fields_of(shot, rng), stamp)
        life.most = max(life.most, int((shot.share > 0.05).sum()))
        life.frames += 1
        if last is not None and not last <= stamp <= last + forget:
            dead |= life.ids  # no track survives such a jump
            gone.clear()
        ids = people.ids.tolist()
        assert len(set(ids)) == len(ids) and not set(ids) & dead
        assert set(np.unique(people.labels).tolist()) <= {0, *ids}
        assert np.isfinite(people.keypoints).all() and np.isfinite(people.boxes).all()
        assert not [i for i in ids if stamp - gone.pop(i, stamp) > forget + 0.5]
        gone |= dict.fromkeys(before - set(ids), stamp)
        before, last = set(ids), stamp
        life.ids |= set(ids)
        life.tracks.append(len(decoder.tracker.tracks))
        watch(t)
    return life
