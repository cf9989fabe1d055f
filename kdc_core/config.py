"""One frozen dataclass per stage; every field says its unit and what goes wrong on either side."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

from kdc_core.errors import InputError

CENTROID_MODES = ("static", "single", "nearest", "weighted", "all")


@dataclass(frozen=True)
class ModelInfo:
    """What a decoder must know of a network; travels in the ONNX file's metadata."""

    preset: str = "lite"
    backbone: str = "efficientnet_lite2"
    longest: int = 640  # input pixels, longest side of the letterboxed frame
    stride: int = 8  # input pixels per cell of the offset fields: offsets are smooth
    seg_stride: int = 2  # input pixels per cell of the mask: borders are not
    radius: float = 16.0  # R, input pixels
    octaves: int = 2  # sizes at which it looks at a picture, each half of the one before

    @property
    def multiple(self) -> int:
        """What the sides of its input are multiples of: stride 32 in the smallest picture."""
        return 32 << (self.octaves - 1)

    def at(self, long_side: int | None) -> ModelInfo:
        """The same network on pictures of this longest side; None or 0: of its own."""
        return replace(self, longest=long_side or self.longest)

    @classmethod
    def from_metadata(cls, text: dict[str, str]) -> ModelInfo:
        """Read the ONNX metadata, strings to the types of the fields."""
        text = {"kdc_octaves": "2", **text}  # files that do not say it: 64 suits 1 as well
        kinds = {"str": str, "int": int, "float": float}
        try:
            values = {
                name: kinds[kind.type](text[f"kdc_{name}"])
                for name, kind in cls.__dataclass_fields__.items()
            }
        except (KeyError, ValueError) as error:
            raise InputError(f"not a KDC model: metadata {error} is missing or wrong") from None
        if values["octaves"] not in (1, 2, 3):
            raise InputError(f"not a KDC model: expected 1 to 3 octaves, got {values['octaves']}")
        return cls(**values)

    def to_metadata(self) -> dict[str, str]:
        """The inverse of ``from_metadata``."""
        return {f"kdc_{name}": str(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class HoughConfig:
    """Votes and peaks, PersonLab §3.1."""

    vote_stride: int = 4  # input pixels per cell of the vote map; coarser merges close keypoints
    min_heat: float = 0.1  # cells below do not vote; lower only costs time
    peak_threshold: float = 0.02  # peaks below are dropped: 0.01 for AP, higher for speed
    max_peaks: int = 32  # per anchor type, static buffer
    refine_steps: int = 2  # times a mid-range target is corrected by the short field


@dataclass(frozen=True)
class GroupConfig:
    """Greedy grouping, PersonLab §3.2."""

    max_people: int = 32
    seed_score: float = 0.05  # a peak below does not start a person
    same_place: float = 10.0  # input pixels: a seed this close to a person's anchor is that person
    same_place_scale: float = 0.08  # … or this share of the person's scale
    match_radius: float = 0.5  # of R: how far from the predicted place a peak is still taken
    match_scale: float = 0.3  # … or this share of the person's scale
    min_anchor_score: float = 0.02  # a keypoint below does not count
    min_keypoints: int = 4  # fewer, and the person needs a CENTRE; fragments steal pixels
    min_centre: float = 0.05  # disk of a CENTRE that makes a person by itself
    duplicate: float = 0.2  # of s_j: anchors this close on average belong to one person
    unmatched_steps: int = 2  # times an anchor without a peak is read again from where it lies


@dataclass(frozen=True)
class CentroidConfig:
    """Which anchors attract a person's pixels."""

    mode: str = "weighted"  # one of CENTROID_MODES
    gate: float = 0.5  # c_k from which an anchor is confident
    sigma_fallback: float = 0.212  # of s_j: makes phi > 0.5 PersonLab's distance test t = 0.25
    sigma_range: tuple[float, float] = (0.08, 0.45)  # of s_j, clamp for the learned sigma

    def __post_init__(self) -> None:
        if self.mode not in CENTROID_MODES:
            raise InputError(f"centroid mode: expected one of {CENTROID_MODES}, got {self.mode!r}")


@dataclass(frozen=True)
class AssignConfig:
    """Pixels to people, eq. 3."""

    min_seg: float = 0.45  # P_seg of a person's pixel
    min_phi: float = 0.4  # the paper says 0.5; with learned fields 0.4 loses fewer limbs
    near: float = 0.08  # of s_j: softens the inverse-distance weight of an anchor close by
    mean_shift_steps: int = 0  # eq. 4: centre ← mean of its members' embeddings
    igo_sigma: float = 0.1  # full-resolution pixels; up to 0.12 a Gaussian is the identity: skipped


@dataclass(frozen=True)
class ScoreConfig:
    """What is reported, and how sure it is.

    The weights of the scores were fitted on pictures of the training set whose masks are all
    human. On the tuning split the mean IoU of people of a given score is within 0.07 of it, the
    mean OKS within 0.06 of it from 0.4 on and up to 0.17 below it under that.
    """

    min_objectness: float = 0.02  # of ``Poses.objectness``; lower only costs time
    #: weights of ``score.expected``: of 1, φ, ln size and ln votes
    oks: tuple[float, ...] = (-2.63, 2.74, 0.57, 1.06)
    iou: tuple[float, ...] = (-5.23, 5.11, 0.52, 0.31)
    min_mask: float = 32.0  # input pixels² of the smallest mask


@dataclass(frozen=True)
class DecodeConfig:
    """All stages from fields to people."""

    hough: HoughConfig = field(default_factory=HoughConfig)
    group: GroupConfig = field(default_factory=GroupConfig)
    centroid: CentroidConfig = field(default_factory=CentroidConfig)
    assign: AssignConfig = field(default_factory=AssignConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)


#: For fields without error, made from annotations: nothing has to be forgiven, so people may be
#: closer to one another than a network could tell them apart. On learned fields it finds fragments.
EXACT = DecodeConfig(
    hough=HoughConfig(vote_stride=2, max_peaks=64),
    group=GroupConfig(
        same_place=4.0, same_place_scale=0.03, match_radius=0.25, match_scale=0.05,
        min_keypoints=2, duplicate=0.05,
    ),
    assign=AssignConfig(min_seg=0.5, min_phi=0.5),
)  # fmt: skip
