"""Parameters of the tracker.

Times are seconds. Lengths marked "s" are shares of a person's scale s = sqrt(area of the keypoints'
box). The comment of a field says what goes wrong with other values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from kdc_core.errors import InputError

_ABOVE_0 = (1e-6, math.inf)
_NOT_NEGATIVE = (0.0, math.inf)
_SHARE = (0.0, 1.0)


def _check(config: object, **ranges: tuple[float, float]) -> None:
    """Raise ``InputError`` for a field that is not between the given limits; NaN never is."""
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if not low <= value <= high:
            expected = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
            owner = type(config).__name__
            raise InputError(f"{owner}.{name}: expected {expected}, got {value}")


@dataclass(frozen=True)
class MotionConfig:
    """Kalman filters, body shape and camera motion."""

    # filters
    body_agility: float = 0.6  # s / s^1.5: how fast a body's velocity varies; higher trusts less
    limb_agility: float = 2.0  # s / s^1.5: the same for single joints, which swing
    first_speed: float = 1.0  # s per second: deviation of a new track's speed; lower lags at first
    keypoint_noise: float = 0.04  # s: error of a keypoint of confidence 1; higher lags
    min_confidence: float = 0.15  # the error grows with 1 / confidence down to here
    pixel_noise: float = 0.1  # s: error of anchors that are read from pixels, without a pose
    overlap_noise: float = 1.5  # by this factor the error grows where the disks of two people merge
    partial_power: float = 2.0  # of the visible share; higher follows partial views less
    # occlusion
    coast_time: float = 2.0  # seconds in which the speed falls to 1/e; higher drifts away
    joint_return: float = 0.2  # seconds in which hidden joints return to their usual position
    # body shape
    shape_time: float = 2.0  # seconds, time constant; lower forgets the shape while it is hidden
    scale_time: float = 0.3  # seconds, time constant: people approach and enter from the side
    mask_time: float = 0.5  # seconds, time constant of the mask's size and of sigma …
    mask_shrink_time: float = 2.0  # … of the size while it falls: an occluded mask keeps its size
    # camera
    pan_persistence: float = 0.5  # share of a sudden shift of the image that becomes a velocity
    pan_min_dt: float = 0.015  # seconds between frames below which a shift tells no velocity
    crowd: int = 3  # poses from which their common correction is attributed to the camera

    def __post_init__(self) -> None:
        _check(
            self,
            body_agility=_ABOVE_0,
            limb_agility=_ABOVE_0,
            first_speed=_ABOVE_0,
            keypoint_noise=_ABOVE_0,
            min_confidence=(1e-6, 1.0),
            pixel_noise=_ABOVE_0,
            overlap_noise=_NOT_NEGATIVE,
            partial_power=_NOT_NEGATIVE,
            coast_time=_ABOVE_0,
            joint_return=_ABOVE_0,
            shape_time=_ABOVE_0,
            scale_time=_ABOVE_0,
            mask_time=_ABOVE_0,
            mask_shrink_time=_ABOVE_0,
            pan_persistence=_SHARE,
            pan_min_dt=_ABOVE_0,
            crowd=(1, math.inf),
        )


@dataclass(frozen=True)
class LifecycleConfig:
    """When tracks are confirmed, lost and deleted."""

    confirm: float = 0.10  # seconds until a track is confirmed; lower lets false detections through
    revive_after: float = 0.15  # seconds unseen after which a new pose in reach may be this person
    lose_after: float = 0.5  # seconds unseen after which a track is LOST: only revival finds it
    forget_after: float = 6.0  # seconds unseen until a track is deleted; higher revives strangers
    forget_left: float = 1.5  # … if the person left the image: the next to enter is another person
    max_requery: float = 0.6  # seconds without a pose during which pixels alone confirm a track

    def __post_init__(self) -> None:
        _check(
            self,
            confirm=_NOT_NEGATIVE,
            revive_after=_NOT_NEGATIVE,
            lose_after=_NOT_NEGATIVE,
            forget_after=_ABOVE_0,
            forget_left=_NOT_NEGATIVE,
            max_requery=_NOT_NEGATIVE,
        )


@dataclass(frozen=True)
class AssociationConfig:
    """Which pose belongs to which track."""

    # poses
    strong: float = 0.5  # mean of a pose's five best confidences from which it may start a track
    weak: float = 0.3  # … from which it may continue one; lower lets fragments in
    same_person: float = 0.3  # s: poses this close are one person, unless two tracks are there
    duplicate: float = 0.7  # OKS with a tracked pose from which an unmatched pose is its duplicate
    # costs
    max_cost: float = 0.7  # pairs that cost more are different people
    max_cost_weak: float = 0.5  # … for weak poses
    skeleton_share: float = 0.45  # share of OKS in the cost
    mask_share: float = 0.25  # share of the mask IoU
    colour_share: float = 0.6  # share of the colours; the shares of known terms are renormalised
    occluded_cost: float = 0.15  # added for occluded tracks: the visible neighbour is matched first
    # gates
    reach: float = 0.5  # s: how far from the prediction a person may appear
    max_speed: float = 3.0  # s per second: people are not faster
    scale_ratio: float = 2.0  # largest change of scale between two poses: a turn makes narrow
    revival_ratio: float = 1.67  # … of a person who is revived
    partial_ratio: float = 2.5  # … and is seen in part
    max_bone_distance: float = 0.45  # mean |log| of bone length ratios within one body
    centre_only_reach: float = 1.5  # s: without keypoints only the position tells who it is
    # colours
    colour_range: float = 0.4  # Bhattacharyya distance of different clothes
    unknown_colour: float = 0.5  # distance, 0 to 1, of unknown colours in revival
    colour_time: float = 2.0  # seconds, time constant: slower than a crossing, quicker than shade
    colour_gap: float = 0.4  # sums of two scales: people who are nearer exchange pixels

    def __post_init__(self) -> None:
        _check(
            self,
            strong=_SHARE,
            weak=_SHARE,
            same_person=_ABOVE_0,
            duplicate=_SHARE,
            max_cost=_NOT_NEGATIVE,
            max_cost_weak=_NOT_NEGATIVE,
            skeleton_share=_ABOVE_0,
            mask_share=_ABOVE_0,
            colour_share=_NOT_NEGATIVE,
            occluded_cost=_NOT_NEGATIVE,
            reach=_ABOVE_0,
            max_speed=_NOT_NEGATIVE,
            scale_ratio=(1.0, math.inf),
            revival_ratio=(1.0, math.inf),
            partial_ratio=(1.0, math.inf),
            max_bone_distance=_NOT_NEGATIVE,
            centre_only_reach=_NOT_NEGATIVE,
            colour_range=_ABOVE_0,
            unknown_colour=_SHARE,
            colour_time=_ABOVE_0,
            colour_gap=_NOT_NEGATIVE,
        )


@dataclass(frozen=True)
class VisibilityConfig:
    """Which keypoints are visible, and which of them carries the person."""

    average_time: float = 0.12  # seconds, time constant of the average confidence; lower flickers
    on: float = 0.60  # a keypoint whose average rises above may carry the person …
    off: float = 0.35  # … until it falls below
    dwell: float = 0.13  # seconds above ``on``, and between two switches that were not forced
    margin: float = 1.7  # factor by which a new primary anchor must be better; lower flickers
    fade: float = 0.10  # seconds, time constant of the cross-fade of weights
    beside_hidden: float = 0.2  # worth of a keypoint beside a hidden one: it is hidden next
    safe_distance: float = 1.0  # s: from here on, the distance to a hidden keypoint adds no worth

    def __post_init__(self) -> None:
        _check(
            self,
            average_time=_ABOVE_0,
            on=_SHARE,
            off=(0.0, self.on),
            dwell=_NOT_NEGATIVE,
            margin=(1.0, math.inf),
            fade=_ABOVE_0,
            beside_hidden=_ABOVE_0,
            safe_distance=_NOT_NEGATIVE,
        )


@dataclass(frozen=True)
class PixelConfig:
    """Priors for mask assignment, and people without a pose who are found by their pixels."""

    # priors
    shape_prior: float = 0.3  # log of the factor on φ where another person usually is
    label_inertia: float = 0.2  # bonus on φ of cells that had this label before; lower flickers
    shape_time: float = 1.0  # seconds, time constant of the average silhouette: longer than a step
    apart: float = 1.0  # sums of two scales from which people do not touch and shapes are learned
    # search without a pose
    min_explained: float = 0.15  # share of the expected mask that must point at the anchors
    min_phi: float = 0.5  # φ from which a cell points at a person (eq. 3)
    rival_margin: float = 0.2  # by this much φ must exceed that of people with a pose
    min_expected: float = 0.3  # share of the usual mask that is expected if others cover all of it
    usual: float = 0.5  # share of the time from which a point belongs to the silhouette
    max_anchors: int = 4  # number of anchors that are used; more cost time and change nothing
    search_margin: float = 1.5  # s around the predicted body in which its pixels may be

    def __post_init__(self) -> None:
        _check(
            self,
            shape_prior=_NOT_NEGATIVE,
            label_inertia=_NOT_NEGATIVE,
            shape_time=_ABOVE_0,
            apart=_NOT_NEGATIVE,
            min_explained=_SHARE,
            min_phi=_SHARE,
            rival_margin=_SHARE,
            min_expected=_SHARE,
            usual=_SHARE,
            max_anchors=(1, 18),
            search_margin=_NOT_NEGATIVE,
        )


@dataclass(frozen=True)
class SmoothingConfig:
    """What is published: One-Euro filter of the keypoints, scores and weights."""

    min_cutoff: float = 1.2  # Hz; lower shakes less and lags more
    beta: float = 1.0  # Hz per (s / second); higher follows quick limbs
    slope_cutoff: float = 1.0  # Hz, low-pass of the speed that opens the filter
    score_fade: float = 0.5  # seconds, time constant of the score of people without a pose
    overlap_weight: float = 0.3  # factor on a keypoint whose disk merges with another person's

    def __post_init__(self) -> None:
        _check(
            self,
            min_cutoff=_ABOVE_0,
            beta=_NOT_NEGATIVE,
            slope_cutoff=_ABOVE_0,
            score_fade=_ABOVE_0,
            overlap_weight=_SHARE,
        )


@dataclass(frozen=True)
class TrackConfig:
    """All parameters of the tracker.

    Raises:
        InputError: a value is out of its range; each part checks its own.
    """

    motion: MotionConfig = field(default_factory=MotionConfig)
    lifecycle: LifecycleConfig = field(default_factory=LifecycleConfig)
    association: AssociationConfig = field(default_factory=AssociationConfig)
    visibility: VisibilityConfig = field(default_factory=VisibilityConfig)
    pixels: PixelConfig = field(default_factory=PixelConfig)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    temporal: bool = True  # False: centroids and pixels of the single frame, for comparison
