"""Drawn clips: the same person keeps the same id and mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="perfect fields are made by the training targets")

from kdc_core.config import CentroidConfig, DecodeConfig
from kdc_core.track import LifecycleConfig, TrackConfig, VideoDecoder
from kdc_core.types import Phase
from kdc_lab.evaluate.composed_clips import Clip, Drawn, line
from tests.track.clips import fields_of, id_of, iou_of, play, stamps

CROSSING = Clip((Drawn(line(70, 215, 80), 150), Drawn(line(250, 225, -80), 165, 1.1)))


def ids_seen(clip, times, decoder, rng=None, least=0.3):
    """Return the ids of each figure in frames where at least the share ``least`` was visible."""
    ids = [set() for _ in clip.figures]
    for _, shot, people in play(clip, times, decoder, rng):
        for figure in np.flatnonzero(shot.share >= least):
            if (shot.owner == figure + 1).sum() > 300:
                ids[figure].add(id_of(shot, people, figure))
    return ids


def standing(x=160.0, tall=150.0):
    return Drawn(lambda t: (x, 215.0), tall, pace=0.0)


def behind_pillar(gap, speed=0.0, start=0.6):
    """One person, fully hidden for ``gap`` seconds, seen for ``start`` seconds before and after."""
    if not speed:
        hidden = [(90.0, 0.0, 230.0, 240.0)]
        return Clip((standing(),), pillars=lambda t: hidden if start <= t < start + gap else []), (
            2 * start + gap
        )
    wide = speed * gap + 70
    path = line(60 - speed * start, 215, speed)
    pillar = [(85.0, 0.0, 85.0 + wide, 240.0)]
    size = (-(-int(85 + wide + 60 + speed * start) // 32) * 32, 240)
    seconds = start + (wide + 50) / speed + start
    return Clip((Drawn(path, 150),), size=size, pillars=lambda t: pillar), seconds


@pytest.mark.parametrize("noise", [False, True])
def test_crossing_people_keep_their_ids(noise):
    rng = np.random.default_rng(1) if noise else None
    decoder, late = VideoDecoder(), []
    for t, shot, people in play(CROSSING, stamps(2.2), decoder, rng):
        assert set(people.ids.tolist()) == {1, 2}
        if shot.share.min() > 0.5:
            late.append([id_of(shot, people, figure) for figure in (0, 1)])
            assert min(iou_of(shot, people, f, f + 1) for f in (0, 1)) > (0.7 if noise else 0.8), t
    assert (np.array(late) == [1, 2]).all()


@pytest.mark.parametrize("mode", ["weighted", "single"])
def test_a_switch_of_the_centroid_changes_neither_id_nor_mask(mode):
    # the same fields for two seconds, in which the primary anchor loses its confidence
    decoder = VideoDecoder(DecodeConfig(centroid=CentroidConfig(mode=mode)))
    fields = fields_of(Clip((standing(110), standing(230, 170))).at(0.0))
    before = decoder(fields, 0.0)
    carried = before.centroid.copy()
    vis = fields.vis.copy()
    for k in carried[carried < 17]:
        vis[k] = 0.0
    blinded, switches = replace(fields, vis=vis), []
    for t in stamps(1.0)[1:]:
        people = decoder(blinded, float(t))
        switches += decoder.switches
        assert people.ids.tolist() == before.ids.tolist()
    assert {event.id for event in switches} == {1, 2}
    assert not set(people.centroid.tolist()) & set(carried.tolist())
    for i in range(2):
        changed = (people.mask(i) ^ before.mask(i)).sum()
        assert changed < 0.05 * before.mask(i).sum()


@pytest.mark.parametrize("side", ["from below", "from the side"])
def test_the_visible_part_keeps_its_mask_until_four_fifths_are_hidden(side):
    def pillars(t):
        rise = [(60.0, 222 - 60 * t, 260.0, 240.0)]
        return rise if side == "from below" else [(120.0, 0.0, 120 + 32 * t, 240.0)]

    clip, decoder = Clip((standing(),), pillars=pillars), VideoDecoder()
    seen = [(shot.share[0], iou_of(shot, people, 0, 1))
            for _, shot, people in play(clip, stamps(2.8, 15), decoder)]  # fmt: skip
    share, iou = np.array(seen).T
    assert share.max() == 1 and share.min() < 0.1
    assert iou[share >= 0.2].min() >= 0.85


@pytest.mark.parametrize("speed", [0.0, 60.0, 120.0])
@pytest.mark.parametrize("gap", [0.3, 1.0, 2.0])
def test_hidden_person_comes_back_with_the_same_id(gap, speed):
    clip, seconds = behind_pillar(gap, speed)
    decoder, hidden, ids = VideoDecoder(), 0, set()
    for _, shot, people in play(clip, stamps(seconds, 15), decoder):
        hidden += shot.share[0] < 0.05
        if shot.share[0] > 0.3:
            ids.add(id_of(shot, people, 0))
    assert hidden / 15 >= 0.9 * gap
    assert ids == {1}


def test_person_who_turns_back_behind_a_wall_keeps_the_id():
    def feet(t):
        return 40 + 140 * min(t, 1.2, max(0.0, 5.2 - t)), 215.0  # in, wait, and back

    wall = [(130.0, 0.0, 320.0, 240.0)]
    clip = Clip((Drawn(feet, 150),), pillars=lambda t: wall)
    assert ids_seen(clip, stamps(5.2), VideoDecoder()) == [{1}]


def test_people_who_pass_each_other_unseen_keep_their_ids():
    clip = Clip(
        (Drawn(line(30, 215, 80), 150), Drawn(line(290, 222, -80), 160, 1.1)),
        pillars=lambda t: [(90.0, 0.0, 230.0, 240.0)],
    )
    assert ids_seen(clip, stamps(3.2), VideoDecoder()) == [{1}, {2}]


def test_person_hidden_for_too_long_gets_a_new_id():
    clip, seconds = behind_pillar(2.5)
    decoder = VideoDecoder(track=TrackConfig(lifecycle=LifecycleConfig(forget_after=1.5)))
    assert ids_seen(clip, stamps(seconds, 15), decoder) == [{1, 2}]


@pytest.mark.parametrize("rate", [15.0, 60.0])
def test_ids_do_not_depend_on_the_frame_rate(rate):
    assert ids_seen(CROSSING, stamps(2.2, rate), VideoDecoder(), least=0.5) == [{1}, {2}]


def test_ids_survive_the_loss_of_half_of_the_frames():
    times = stamps(2.2)
    kept = np.sort(np.random.default_rng(5).choice(len(times), len(times) // 2, replace=False))
    assert ids_seen(CROSSING, times[kept], VideoDecoder(), least=0.5) == [{1}, {2}]


@pytest.mark.parametrize("speed", [-150.0, 300.0])
def test_ids_survive_a_pan_of_the_camera(speed):
    figures = tuple(Drawn(line(110 + 80 * i, 200 + 10 * i, 15), 110 + 10 * i) for i in range(4))

    def camera(t):
        return (speed * np.clip(t - 0.5, 0, 0.25), 0.0)

    clip = Clip(figures, (480, 256), camera=camera)
    ids = ids_seen(clip, stamps(1.5), VideoDecoder(), least=1.0)
    assert ids == [{1}, {2}, {3}, {4}]


def test_a_person_hidden_during_a_pan_is_found_again():
    figures = tuple(Drawn(lambda t, i=i: (130.0 + 100 * i, 215.0), 140, 0) for i in range(4))
    clip = Clip(
        figures, (512, 256), camera=lambda t: (90 * np.clip(t - 0.6, 0, 1.0), 0.0),
        pillars=lambda t: [(180.0, 0.0, 280.0, 256.0)] if 0.6 <= t < 1.4 else [],
    )  # fmt: skip
    ids = ids_seen(clip, stamps(2.0), VideoDecoder(), least=1.0)
    assert ids == [{1}, {2}, {3}, {4}]


def test_mask_survives_missed_poses(monkeypatch):
    decoder = VideoDecoder()
    for _, shot, people in play(CROSSING, stamps(0.5), decoder):
        whole = [iou_of(shot, people, f, f + 1) for f in (0, 1)]
    update = decoder.tracker.update
    monkeypatch.setattr(  # the decoder finds no pose
        decoder.tracker, "update",
        lambda fields, poses, centroids, stamp, image, mode, prior: update(
            fields, poses[:0], replace(centroids, **{
                name: getattr(centroids, name)[:0] for name in centroids.__dataclass_fields__
            }), stamp, image, mode, prior),
    )  # fmt: skip
    for t in stamps(0.95)[15:].tolist():
        shot = CROSSING.at(t)
        people = decoder(fields_of(shot), t)
        assert people.phase.tolist() == [Phase.CONFIRMED] * 2
        if shot.share.min() == 1:
            blind = [iou_of(shot, people, f, f + 1) for f in (0, 1)]
            assert min(blind) > 0.9 * min(whole)


def test_hidden_person_has_a_row_without_pixels_and_then_none():
    clip, _ = behind_pillar(2.0)
    decoder, phases = VideoDecoder(), []
    for _, shot, people in play(clip, stamps(2.0, 15), decoder):
        phases.append(people.phase.tolist())
        if shot.share[0] == 0:
            assert not people.labels.any()
            assert all(score == 0 for score in people.mask_score)
    assert phases[0] == [Phase.CONFIRMED]
    assert [Phase.OCCLUDED] in phases and phases[-1] == []


def out_and_in(t):
    """Feet of a person who walks out on the right, and in again four seconds later."""
    return (250 + 150 * min(t, 1.0) - 150 * float(np.clip(t - 4.0, 0, 1)), 220.0)


@pytest.mark.parametrize(("hides", "same"), [(False, False), (True, True)])
def test_video_decoder_remembers_hidden_people_longer_than_those_who_left(hides, same):
    curtain = [(0.0, 0.0, 320.0, 240.0)]
    clip = Clip(
        (Drawn((lambda t: (160.0, 220.0)) if hides else out_and_in, 150),),
        pillars=lambda t: curtain if hides and 0.5 <= t < 3.5 else [],
    )
    ids = [
        people.ids.tolist()
        for _, shot, people in play(clip, stamps(5.2, 15), VideoDecoder())
        if (shot.owner == 1).sum() > 3000
    ]
    assert ids[0] == [1]
    assert (ids[-1] == [1]) == same
