"""Constants of the tracker, each with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrackConfig:
    """Times are seconds, lengths are shares of a person's scale s = sqrt(keypoint box area)."""

    # motion
    agility: float = 0.6  # s / s^1.5: how much a body's velocity wanders; higher trusts less
    limb_agility: float = 2.0  # s / s^1.5: the same for single joints, which swing
    noise: float = 0.04  # s: error of a keypoint of confidence 1
    coast: float = 2.0  # seconds in which a hidden person's speed falls to 1/e
    # life
    confirm: float = 0.10  # seconds until a track is believed; lower lets ghosts through
    away: float = 0.15  # seconds unseen after which a new pose in reach may be this person
    hidden: float = 0.5  # seconds of hiding after which a track is LOST, found by revival only
    forget: float = 6.0  # seconds unseen until a person is forgotten; higher revives strangers
    left: float = 1.5  # … who left the picture
    requery: float = 0.6  # seconds that a track may live on its pixels alone, without a pose
    # association
    strong: float = 0.5  # mean of a pose's five best confidences that may start a track
    weak: float = 0.3  # … that may continue one
    max_cost: float = 0.7  # pairs that cost more are not the same person
    max_weak: float = 0.5  # … for weak poses
    reach: float = 0.5  # s: how far from the prediction a person may appear
    speed: float = 3.0  # s per second: people are not faster
    scale_ratio: float = 2.0  # largest change of scale between two poses: who turns becomes narrow
    revival_ratio: float = 1.67  # … of somebody who comes back
    partial_ratio: float = 2.5  # … and is seen in part
    proportions: float = 0.45  # mean |log| of bone length ratios that still is the same body
    duplicate: float = 0.7  # OKS with a tracked pose from which a free pose is its double
    apart: float = 0.3  # s: poses this close are one person, unless two tracks are expected there
    # visibility and centroid
    fall: float = 0.12  # seconds, time constant of the visibility average
    on: float = 0.60  # a keypoint above may carry the person …
    off: float = 0.35  # … until it falls below
    dwell: float = 0.13  # seconds above ``on`` and between two switches that were not forced
    margin: float = 1.7  # a new primary must be better by this factor; lower flickers
    fade: float = 0.10  # seconds, time constant of the cross-fade of weights
    temporal: bool = True  # False: centroids and pixels of the single frame, for comparison
    # pixels
    explained: float = 0.15  # share of the expected mask that must point at anchors without a pose
    outline: float = 0.3  # log of how much less φ counts where usually somebody else is
    again: float = 0.2  # by how much more φ counts where the person was; lower flickers
    # published keypoints
    min_cutoff: float = 1.2  # Hz, One-Euro: lower is calmer and lags
    beta: float = 1.0  # Hz per (s / second): higher follows quick limbs
