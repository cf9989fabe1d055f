"""Rules of the tracker: order of poses, time, and ids."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from kdc_core.config import CentroidConfig, DecodeConfig, HoughConfig
from kdc_core.decode import find_poses
from kdc_core.letterbox import Letterbox
from kdc_core.skeleton import CENTRE
from kdc_core.track import LifecycleConfig, TrackConfig, Tracker, VideoDecoder
from kdc_core.track.camera_motion import compensate
from kdc_core.track.lifecycle import LARGEST_ID, IdAllocator
from kdc_core.track.tracks import no_tracks
from kdc_core.types import Phase
from kdc_lab.evaluate.composed_clips import Clip, Drawn, line
from tests.track.clips import fields_of, stamps
from tests.track.steps import step

CROSSING = Clip((Drawn(line(90, 215, 80), 150), Drawn(line(230, 225, -80), 165, 1.1)))


@pytest.fixture(scope="module")
def found():
    """Fields, poses and centroids of a crossing, one per frame, and the stamps."""
    rng = np.random.default_rng(2)
    times = stamps(1.6, 15).tolist()
    fields = [fields_of(CROSSING.at(t), rng) for t in times]
    return [(f, *find_poses(f, DecodeConfig()), t) for f, t in zip(fields, times, strict=True)]


def columns(value):
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def left_most(poses, count):
    return np.argsort(poses.xy[:, :, 0].mean(axis=1))[:count]


def assert_same(a, b):
    assert a.ids.tolist() == b.ids.tolist() and a.phase.tolist() == b.phase.tolist()
    assert a.switches == b.switches
    for mine, theirs in ((a.poses, b.poses), (a.centroids, b.centroids)):
        for name, value in columns(mine).items():
            np.testing.assert_array_equal(value, getattr(theirs, name), err_msg=name)


def test_tracker_does_not_depend_on_the_order_of_poses(found):
    rng, plain, mixed = np.random.default_rng(0), Tracker(), Tracker()
    for fields, poses, centroids, t in found:
        order = rng.permutation(len(poses))
        shuffled = mixed.update(fields, poses[order], centroids[order], t)
        assert_same(plain.update(fields, poses, centroids, t), shuffled)


def test_tracker_restarts_when_time_runs_backwards(found, caplog):
    tracker = Tracker()
    for fields, poses, centroids, t in found[:4]:
        last = tracker.update(fields, poses, centroids, t)
    with caplog.at_level(logging.WARNING):
        anew = tracker.update(*found[0])
    assert "time went from 0.200 to 0.000" in caplog.text
    assert sorted(last.ids) == [1, 2] and sorted(anew.ids) == [3, 4]
    assert (anew.phase == Phase.CONFIRMED).all()


def test_tracker_restarts_with_another_letterbox(found, caplog):
    tracker = Tracker()
    tracker.update(*found[0])
    wide = Clip(CROSSING.figures, size=(384, 256))
    fields = fields_of(wide.at(0.1))
    with caplog.at_level(logging.WARNING):
        frame = tracker.update(fields, *find_poses(fields, DecodeConfig()), 0.1)
    assert "input changed" in caplog.text and sorted(frame.ids) == [3, 4]
    assert isinstance(fields.letterbox, Letterbox)


def test_tracker_restarts_after_a_long_pause(found):
    tracker = Tracker(TrackConfig(lifecycle=LifecycleConfig(forget_after=2.0)))
    fields, poses, centroids, _ = found[0]
    tracker.update(fields, poses, centroids, 0.0)
    assert sorted(tracker.update(fields, poses, centroids, 1.9).ids) == [1, 2]
    assert sorted(tracker.update(fields, poses, centroids, 4.0).ids) == [3, 4]


def test_tracker_accepts_a_repeated_stamp(found):
    tracker = Tracker()
    fields, poses, centroids, t = found[0]
    for stamp in (t, t, t + 0.1, t + 0.1):
        frame = tracker.update(fields, poses, centroids, stamp)
        assert sorted(frame.ids) == [1, 2]
        assert all(np.isfinite(value).all() for value in columns(frame.centroids).values())


def test_tracker_confirms_a_new_person_after_a_tenth_of_a_second(found):
    tracker = Tracker()
    for fields, poses, centroids, t in found[:6]:
        keep = left_most(poses, 1 if t < 0.1 else 2)
        frame = tracker.update(fields, poses[keep], centroids[keep], t)
        phase = dict(zip(frame.ids.tolist(), frame.phase.tolist(), strict=True))
        assert phase[1] == Phase.CONFIRMED
        if t > 0.1:
            assert phase[2] == (Phase.TENTATIVE if t < 0.23 else Phase.CONFIRMED)


def test_tracker_deletes_a_detection_of_one_frame(found):
    tracker = Tracker()
    seen = []
    for i, (fields, poses, centroids, t) in enumerate(found[:6]):
        keep = left_most(poses, 2 if i == 2 else 1)
        seen.append(sorted(tracker.update(fields, poses[keep], centroids[keep], t).ids))
    assert seen[1] == [1] and 2 in seen[2] and seen[-1] == [1]


def test_tracker_ignores_a_duplicate_pose(found):
    tracker = Tracker()
    for fields, poses, centroids, t in found[:4]:
        twice = np.array([0, 1, 0] if t else [0, 1])
        frame = tracker.update(fields, poses[twice], centroids[twice], t)
        assert sorted(frame.ids) == [1, 2]


def test_id_allocator_starts_anew_after_the_largest_id(found, caplog):
    config = TrackConfig()
    tracker = Tracker(config)
    tracker.update(*found[0])
    tracks = tracker.tracks
    fresh = no_tracks(config).join(tracks)
    fresh.id[:] = 0
    with caplog.at_level(logging.WARNING):
        named = IdAllocator(last=LARGEST_ID - 1).allocate(fresh, step(0.0))
    assert sorted(named.id) == [1, LARGEST_ID] and "numbering starts anew" in caplog.text


def test_labels_are_track_ids_and_every_switch_belongs_to_a_row(found):
    decoder = VideoDecoder()
    for fields, _, _, t in found:
        people = decoder(fields, t)
        assert set(np.unique(people.labels)) - {0} <= set(people.ids.tolist())
        assert {event.id for event in decoder.switches} <= set(people.ids.tolist())
        assert all(event.before != event.after for event in decoder.switches)


def test_compensate_between_close_frames_adds_no_velocity(found):
    tracker = Tracker()
    tracker.update(*found[0])
    tracks = tracker.tracks
    for dt, speed in ((0.001, 0.0), (0.0, 0.0), (0.1, 300.0)):
        moved = compensate(tracks, np.array([60.0, 0.0]), step(dt=dt)).motion
        np.testing.assert_allclose(moved.xy - tracks.motion.xy, [[[60, 0]] * 19] * len(tracks))
        gained = moved.velocity - tracks.motion.velocity
        np.testing.assert_allclose(gained, [[[speed, 0]] * 19] * len(tracks))


def test_video_decoder_config_acts_on_the_next_frame(found):
    decoder, (fields, *_, t) = (
        VideoDecoder(DecodeConfig(hough=HoughConfig(peak_threshold=1.0))),
        found[0],
    )
    assert len(decoder(fields, t)) == 0, "no peak is that high"
    decoder.config = DecodeConfig(centroid=CentroidConfig(mode="static"))
    people = decoder(fields, t + 0.05)
    assert len(people) == 2 and set(people.centroid.tolist()) == {CENTRE}
