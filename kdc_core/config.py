"""Configuration: one frozen dataclass per stage.

The comment of a field gives its unit and says what goes wrong with other values.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import Enum

from kdc_core.errors import InputError


class CentroidMode(str, Enum):
    """Which anchors of a person attract its pixels. A member equals its value."""

    STATIC = "static"  # the centre of the mask, SM_c of the paper
    SINGLE = "single"  # the most confident anchor alone, DM_c of the paper
    NEAREST = "nearest"  # of all confident anchors the one that is nearest to the pixel
    WEIGHTED = "weighted"  # all confident anchors, weighted by confidence and distance
    ALL = "all"  # all anchors, confident or not

    __str__ = str.__str__


def _check(config: object, good: bool, expected: str) -> None:
    """Raise an ``InputError`` for a field of ``config`` unless it is ``good``.

    Args:
        config: the dataclass.
        good: whether the value is valid; NaN must make it False.
        expected: name of the field, a colon, and the valid values.
    """
    if not good:
        name = expected.partition(":")[0]
        raise InputError(f"{expected}, got {getattr(config, name)}")


def _check_shares(config: object, *names: str) -> None:
    for name in names:
        _check(config, 0 <= getattr(config, name) <= 1, f"{name}: expected 0 to 1")


def _check_not_negative(config: object, *names: str) -> None:
    for name in names:
        _check(config, getattr(config, name) >= 0, f"{name}: expected 0 or more")


@dataclass(frozen=True)
class ModelInfo:
    """Properties of a network that the decoder needs. An ONNX file carries them as metadata."""

    preset: str = "lite"
    backbone: str = "efficientnet_lite2"
    longest: int = 640  # input pixels, longest side of the letterboxed frame
    stride: int = 8  # input pixels per cell of the offset fields, which are smooth
    seg_stride: int = 2  # input pixels per cell of the mask, which has sharp borders
    radius: float = 16.0  # R, input pixels
    octaves: int = 2  # scales of the image pyramid, each half the size of the one before

    @property
    def multiple(self) -> int:
        """Both sides of the input are multiples of this: stride 32 at the smallest scale."""
        return 32 << (self.octaves - 1)

    def at(self, long_side: int | None) -> ModelInfo:
        """Return the same network with another longest side; None or 0 keeps its own."""
        return replace(self, longest=long_side or self.longest)

    @classmethod
    def from_metadata(cls, text: dict[str, str]) -> ModelInfo:
        """Read the metadata of an ONNX file.

        Raises:
            InputError: an entry is missing or malformed.
        """
        text = {"kdc_octaves": "2", **text}  # older files have no entry; 64 suits 1 octave as well
        try:
            info = cls(
                preset=text["kdc_preset"],
                backbone=text["kdc_backbone"],
                longest=int(text["kdc_longest"]),
                stride=int(text["kdc_stride"]),
                seg_stride=int(text["kdc_seg_stride"]),
                radius=float(text["kdc_radius"]),
                octaves=int(text["kdc_octaves"]),
            )
        except (KeyError, ValueError) as error:
            raise InputError(f"not a KDC model: metadata {error} is missing or wrong") from None
        if info.octaves not in (1, 2, 3):
            raise InputError(f"not a KDC model: expected 1 to 3 octaves, got {info.octaves}")
        return info

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata that ``from_metadata`` reads."""
        return {f"kdc_{name}": str(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class HoughConfig:
    """Votes and peaks, PersonLab §3.1."""

    vote_stride: int = 4  # input pixels per cell of the vote map; coarser merges close keypoints
    min_heat: float = 0.1  # cells below do not vote; lower only costs time
    peak_threshold: float = 0.02  # peaks below are dropped: 0.01 for AP, higher for speed
    max_peaks: int = 32  # per anchor type, size of a static buffer
    refine_steps: int = 2  # how often the short field corrects the target of a mid-range offset

    def __post_init__(self) -> None:
        _check(self, 1 <= self.vote_stride, "vote_stride: expected 1 or more input pixels")
        _check_shares(self, "min_heat", "peak_threshold")
        _check(self, 1 <= self.max_peaks, "max_peaks: expected 1 or more")
        _check(self, 0 <= self.refine_steps, "refine_steps: expected 0 or more")


@dataclass(frozen=True)
class GroupConfig:
    """Greedy grouping, PersonLab §3.2."""

    max_people: int = 32
    seed_score: float = 0.05  # a peak below does not start a person
    same_place: float = 10.0  # input pixels: a seed this close to a person's anchor is that person
    same_place_scale: float = 0.08  # … or this share of the person's scale
    match_radius: float = 0.5  # of R: a peak this close to the predicted position is matched
    match_scale: float = 0.3  # … or this share of the person's scale
    min_anchor_score: float = 0.02  # a keypoint below does not count
    min_keypoints: int = 4  # fewer, and the person needs a CENTRE; fragments steal pixels
    min_centre: float = 0.05  # disk of a CENTRE that makes a person by itself
    duplicate: float = 0.2  # of s_j: anchors this close on average belong to one person
    unmatched_steps: int = 2  # how often an unmatched anchor is read again at its new position

    def __post_init__(self) -> None:
        _check(self, 1 <= self.max_people <= 65535, "max_people: expected 1 to 65535")
        _check_shares(self, "seed_score", "min_anchor_score", "min_centre")
        _check_not_negative(
            self, "same_place", "same_place_scale", "match_radius", "match_scale", "duplicate",
            "min_keypoints", "unmatched_steps",
        )  # fmt: skip


@dataclass(frozen=True)
class CentroidConfig:
    """Which anchors attract a person's pixels."""

    mode: CentroidMode = CentroidMode.WEIGHTED  # the constructor takes its value as well
    gate: float = 0.5  # c_k from which an anchor is confident
    sigma_fallback: float = 0.212  # of s_j: makes phi > 0.5 PersonLab's distance test t = 0.25
    sigma_range: tuple[float, float] = (0.08, 0.45)  # of s_j, clamp for the learned sigma

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "mode", CentroidMode(self.mode))
        except ValueError:
            known = ", ".join(CentroidMode)
            raise InputError(f"centroid mode: expected one of {known}, got {self.mode!r}") from None
        _check_shares(self, "gate")
        _check(self, 0 < self.sigma_fallback, "sigma_fallback: expected more than 0")
        low, high = self.sigma_range
        _check(self, 0 < low <= high, "sigma_range: expected 0 < low <= high")


@dataclass(frozen=True)
class AssignConfig:
    """Pixels to people, eq. 3."""

    min_seg: float = 0.45  # P_seg of a person's pixel
    min_phi: float = 0.4  # the paper says 0.5; with learned fields 0.4 loses fewer limbs
    near: float = 0.08  # of s_j: softens the inverse-distance weight of an anchor close by
    mean_shift_steps: int = 0  # eq. 4: centre ← mean of its members' embeddings
    igo_sigma: float = 0.1  # full-resolution pixels; up to 0.12 a Gaussian is the identity: skipped

    def __post_init__(self) -> None:
        _check_shares(self, "min_seg", "min_phi")
        _check(self, 0 < self.near, "near: expected more than 0")
        _check_not_negative(self, "mean_shift_steps", "igo_sigma")


@dataclass(frozen=True)
class ScoreConfig:
    """Scores of people and their masks.

    The weights were fitted on images of the training set whose masks were all drawn by humans. On
    the tuning split, the mean IoU of people with a given mask score differs from that score by at
    most 0.07. Their mean OKS differs by at most 0.06 for scores from 0.4, and is up to 0.17 too
    low below.
    """

    min_objectness: float = 0.02  # of ``Poses.objectness``; lower only costs time
    #: weights of ``score.expected``: of 1, φ, ln size and ln votes
    oks: tuple[float, ...] = (-2.63, 2.74, 0.57, 1.06)
    iou: tuple[float, ...] = (-5.23, 5.11, 0.52, 0.31)
    min_mask: float = 32.0  # input pixels² of the smallest mask

    def __post_init__(self) -> None:
        _check_shares(self, "min_objectness")
        for name in ("oks", "iou"):
            _check(self, len(getattr(self, name)) == 4, f"{name}: expected 4 weights")
        _check_not_negative(self, "min_mask")


@dataclass(frozen=True)
class DecodeConfig:
    """All stages from fields to people."""

    hough: HoughConfig = field(default_factory=HoughConfig)
    group: GroupConfig = field(default_factory=GroupConfig)
    centroid: CentroidConfig = field(default_factory=CentroidConfig)
    assign: AssignConfig = field(default_factory=AssignConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)


#: For exact fields that are made from annotations. No error has to be tolerated, so people may be
#: closer together than a network can separate. On learned fields it finds fragments of people.
EXACT = DecodeConfig(
    hough=HoughConfig(vote_stride=2, max_peaks=64),
    group=GroupConfig(
        same_place=4.0, same_place_scale=0.03, match_radius=0.25, match_scale=0.05,
        min_keypoints=2, duplicate=0.05,
    ),
    assign=AssignConfig(min_seg=0.5, min_phi=0.5),
)  # fmt: skip
