"""The video decoder on crowds of synthetic fields: ids, labels, configuration, reset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kdc_core.config import DecodeConfig, HoughConfig
from kdc_core.decode import find_poses
from kdc_core.track import PixelConfig, TrackConfig, VideoDecoder, keep_duplicates
from kdc_core.types import Phase
from tools.gpu_check.crowd_fields import crowd

BLIND = DecodeConfig(hough=HoughConfig(peak_threshold=1.0))  # no peak is that high


@pytest.fixture(scope="module")
def fields():
    """Fields of three people."""
    return crowd(3, np.random.default_rng(4), (320, 240), 320, noise=0.0)[0]


def test_video_decoder_ids_are_kept_and_labels_hold_them(fields):
    decoder, stages = VideoDecoder(), []
    first = decoder(fields, 1.0, lap=stages.append)
    second = decoder(fields, 1.1)
    assert len(first) >= 2 and sorted(first.ids) == sorted(second.ids)
    assert set(np.unique(second.labels).tolist()) <= {0, *second.ids.tolist()}
    assert (second.phase == Phase.CONFIRMED).all() and not decoder.switches
    assert stages == ["hough", "group", "select", "track", "assign", "score"]
    assert sorted(decoder.tracker.tracks.id) == sorted(second.ids)


def test_video_decoder_config_of_one_call(fields):
    decoder = VideoDecoder()
    assert len(decoder(fields, 1.0, config=BLIND)) == 0
    assert len(decoder(fields, 1.1)) > 0
    decoder.config = BLIND
    assert len(decoder(fields, 1.2, config=DecodeConfig())) > 0


def test_video_decoder_follow_equals_a_call(fields):
    one, other = VideoDecoder(), VideoDecoder()
    for t in (1.0, 1.1):
        called = one(fields, t)
        found = find_poses(fields, keep_duplicates(DecodeConfig()))
        followed = other.follow(fields, *found, t)
        np.testing.assert_array_equal(called.labels, followed.labels)
        np.testing.assert_array_equal(called.keypoints, followed.keypoints)
        np.testing.assert_array_equal(called.mask_score, followed.mask_score)


def test_video_decoder_missing_poses_keep_ids_then_masks(fields):
    decoder = VideoDecoder()
    before = decoder(fields, 1.0)
    blind = decoder(fields, 1.1, config=BLIND)
    assert sorted(blind.ids) == sorted(before.ids), "the fields are read again"
    rows = [blind.ids.tolist().index(i) for i in before.ids.tolist()]
    for row, own in zip(rows, range(len(before)), strict=True):
        overlap = (blind.mask(row) & before.mask(own)).sum()
        assert overlap >= 0.8 * before.mask(own).sum()
    dark = replace(fields, seg=np.zeros_like(fields.seg))
    hidden = decoder(dark, 1.2, config=BLIND)
    assert (hidden.phase == Phase.OCCLUDED).all() and not hidden.labels.any()
    assert len(decoder(dark, 1.7, config=BLIND)) == 0, "lost people are not reported"


def test_video_decoder_reset_gives_new_ids(fields):
    decoder = VideoDecoder()
    first = decoder(fields, 1.0)
    decoder.reset()
    second = decoder(fields, 1.1)
    assert min(second.ids) > max(first.ids) and len(decoder.tracker.tracks) == len(second)
    np.testing.assert_array_equal(first.labels > 0, second.labels > 0)


def test_video_decoder_label_inertia_needs_the_prior(fields):
    """A large bonus raises φ, and with it the mask score, from the second frame on."""
    gains = []
    for temporal in (True, False):
        track = TrackConfig(pixels=PixelConfig(label_inertia=5.0), temporal=temporal)
        decoder = VideoDecoder(track=track)
        first, second = decoder(fields, 1.0), decoder(fields, 1.1)
        gains.append(float(second.mask_score.max() - first.mask_score.max()))
    assert gains[0] > 0 and gains[1] == 0


def test_keep_duplicates_changes_one_field():
    config = keep_duplicates(BLIND)
    assert config.group.duplicate == 0.01
    assert replace(config, group=BLIND.group) == BLIND
