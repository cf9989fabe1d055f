"""Plan the augmentation of a batch; ``augment_torch.apply_plan`` applies it to the pixels.

Each sample gets one affine map from the stored image to the network input. Matrices (2, 3) act on
corner coordinates, in which pixel i covers [i, i + 1). Points are in half-pixel centres, so 0.5 is
added before and subtracted after. All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kdc_core.skeleton import FLIP, K
from kdc_lab.training.batch import MAX_PEOPLE
from kdc_lab.training.data import Labels


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the augmentation; probabilities are per image."""

    crop: int = 512  # input pixels; a larger crop has more context and costs more time
    longest: int = 640  # input pixels of the image's longest side at zoom 1: ModelInfo.longest
    zoom: tuple[float, float] = (0.6, 1.6)  # factor on that scale, log-uniform: distance of people
    #: input pixels, sqrt(area): images of larger people are shown at half the zoom; 0: none
    half_zoom_above: float = 0.0
    tilt: float = 10.0  # ± degrees, as a camera on a robot
    strong_tilt: float = 30.0  # ± degrees
    strong_tilt_share: float = 0.2  # share of images with the strong tilt: people bend
    flip: float = 0.5  # probability of mirroring
    focus: float = 0.8  # probability that the crop is placed around a person
    paste: float = 0.4  # probability that a person of another image is pasted in front
    paste_weight: float = 0.8  # minimum mask_weight of a pasted person: cut-outs must be clean
    paste_side: float = 24.0  # minimum side of its box in stored pixels: smaller people are blurred
    occlude: float = 0.35  # probability that a patch covers a part of a person
    cover: tuple[float, float] = (0.2, 0.75)  # share of the person's box
    brightness: float = 0.3  # gain 1 ± this
    contrast: float = 0.3  # gain about mid grey, 1 ± this
    saturation: float = 0.5  # 1 ± this
    hue: float = 12.0  # ± degrees about the grey axis
    channel: float = 0.08  # gain 1 ± this per channel: white balance
    grey: float = 0.05  # probability of a grey image: night and mono cameras
    blur: float = 0.15  # probability of a 3 x 3 blur, applied twice in half of the cases
    noise: float = 0.15  # probability of sensor noise
    noise_sigma: float = 10.0  # maximum standard deviation of the noise, grey levels
    min_pixels: int = 8  # input pixels: people with fewer and without visible keypoints are dropped


PLAIN = AugmentConfig(
    crop=640,
    zoom=(1.0, 1.0),
    tilt=0.0,
    strong_tilt=0.0,
    flip=0.0,
    focus=0.0,
    paste=0.0,
    occlude=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
    channel=0.0,
    grey=0.0,
    blur=0.0,
    noise=0.0,
)


@dataclass(frozen=True)
class Paste:
    """n people to cut out of one sample's image and to paste in front of another's."""

    sample: np.ndarray  # (n,) int: target sample
    donor: np.ndarray  # (n,) int: sample of the pasted person
    person: np.ndarray  # (n,) int: row of the person in the donor
    row: np.ndarray  # (n,) int: row of the person in the target sample
    affine: np.ndarray  # (n, 2, 3) donor image → input


@dataclass(frozen=True)
class Patches:
    """n patches in front of everything, textured with another sample's image."""

    sample: np.ndarray  # (n,) int
    donor: np.ndarray  # (n,) int
    texture: np.ndarray  # (n, 2, 3) donor image → input
    shape: np.ndarray  # (n, 2, 3) input → patch coordinates
    round: np.ndarray  # (n,) bool: in these coordinates the unit disk, or the square [-1, 1]²
    colour: np.ndarray  # (n, 3) colour where the texture would show a person


@dataclass(frozen=True)
class Colour:
    """Colour changes of B samples."""

    matrix: np.ndarray  # (B, 3, 3)
    shift: np.ndarray  # (B, 3) grey levels
    blur: np.ndarray  # (B,) int: number of blurs
    noise: np.ndarray  # (B,) grey levels


@dataclass(frozen=True)
class Plan:
    """Everything that changes in a batch; labels are already in input pixels."""

    affine: np.ndarray  # (B, 2, 3) stored image → input
    keypoints: np.ndarray  # (B, P, 17, 3) before pastes and patches hide some
    area: np.ndarray  # (B, P)
    mask_weight: np.ndarray  # (B, P)
    colour: Colour
    paste: Paste
    patches: Patches
    config: AugmentConfig = field(default_factory=AugmentConfig)


def draw_plan(labels: Labels, rng: np.random.Generator, config: AugmentConfig) -> Plan:
    """Return a random plan for the people ``labels`` of a batch."""
    affine, flipped = _draw_views(labels, rng, config)
    keypoints = move_keypoints(labels.keypoints, affine, flipped, config.crop)
    area = labels.area * _area_factor(affine)[:, None]
    boxes = move_boxes(labels.box, affine)
    weight = labels.mask_weight
    paste, mirrored = _draw_pastes(labels, boxes, rng, config)
    if len(paste.sample):
        pad = [(0, 0), (0, 1)]
        keypoints = np.pad(keypoints, [*pad, (0, 0), (0, 0)])
        area, weight, boxes = np.pad(area, pad), np.pad(weight, pad), np.pad(boxes, [*pad, (0, 0)])
        at, source = (paste.sample, paste.row), (paste.donor, paste.person)
        points = labels.keypoints[source][:, None]
        keypoints[at] = move_keypoints(points, paste.affine, mirrored, config.crop)[:, 0]
        area[at] = labels.area[source] * _area_factor(paste.affine)
        weight[at] = labels.mask_weight[source]
        boxes[at] = move_boxes(labels.box[source][:, None], paste.affine)[:, 0]
    patches = _draw_patches(labels, area, boxes, rng, config)
    colour = _draw_colours(len(area), rng, config)
    return Plan(affine, keypoints, area, weight, colour, paste, patches, config)


def move_points(xy: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return points (B, ..., 2) in half-pixel centres, mapped by corner matrices (B, 2, 3)."""
    extra = (1,) * (xy.ndim - 2)
    matrix = affine[:, :, :2].reshape(-1, *extra, 2, 2)
    shift = affine[:, :, 2].reshape(-1, *extra, 2)
    return (matrix @ (xy + 0.5)[..., None])[..., 0] + shift - 0.5


def move_keypoints(
    keypoints: np.ndarray, affine: np.ndarray, flipped: np.ndarray, crop: int
) -> np.ndarray:
    """Return mapped keypoints (B, P, 17, 3); keypoints outside the crop become 0.

    Left and right are exchanged in the samples that are ``flipped`` (B,).
    """
    xy = move_points(keypoints[..., :2].astype(np.float64), affine)
    inside = ((xy >= -0.5) & (xy < crop - 0.5)).all(axis=-1)
    known = inside & (keypoints[..., 2] > 0)
    moved = np.concatenate([xy, keypoints[..., 2:]], axis=-1) * known[..., None]
    return np.where(flipped[:, None, None, None], moved[:, :, FLIP[:K]], moved).astype(np.float32)


def move_boxes(boxes: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return upright boxes (B, P, 4) around mapped boxes (B, P, 4), in corner coordinates."""
    corners = boxes[..., [0, 1, 2, 1, 2, 3, 0, 3]].reshape(*boxes.shape[:2], 4, 2)
    corners = move_points(corners - 0.5, affine) + 0.5
    return np.concatenate([corners.min(axis=2), corners.max(axis=2)], axis=-1)


def _draw_views(
    labels: Labels, rng: np.random.Generator, config: AugmentConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return maps (B, 2, 3) from stored image to crop, and which of them are mirrored (B,)."""
    count, crop = len(labels.size), config.crop
    zoom = np.exp(rng.uniform(*np.log(config.zoom), count))
    strong = rng.random(count) < config.strong_tilt_share
    angle = np.where(strong, config.strong_tilt, config.tilt) * rng.uniform(-1, 1, count)
    flipped = rng.random(count) < config.flip
    person = _choose(labels.area > 0, rng)
    scale = config.longest / labels.size.max(axis=1)
    if config.half_zoom_above:
        zoom = np.where(_is_far(labels, person, scale, rng, config.half_zoom_above), zoom, zoom / 2)
    linear = _linear(scale * zoom, angle, flipped)

    corners = labels.size[:, None] * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    corners = np.einsum("bij,bcj->bci", linear, corners)
    low, high = corners.min(axis=1), corners.max(axis=1)
    focus = np.where(
        ((rng.random(count) < config.focus) & (person >= 0))[:, None],
        _centre(labels.box[np.arange(count), person]),
        labels.size * rng.random((count, 2)),
    )
    place = crop * rng.uniform(0.2, 0.8, (count, 2))
    shift = place - np.einsum("bij,bj->bi", linear, focus)
    # a large image fills the crop, a small one lies inside it
    shift = np.clip(shift, np.minimum(-low, crop - high), np.maximum(-low, crop - high))
    if config.zoom == (1.0, 1.0):  # without augmentation: top left, as in the letterbox
        shift = -low
    return np.concatenate([linear, shift[..., None]], axis=2), flipped


def _is_far(
    labels: Labels, person: np.ndarray, scale: np.ndarray, rng: np.random.Generator, limit: float
) -> np.ndarray:
    """Return (B,) bool: images in which ``person`` (B,) is small enough for the full scale.

    With two pyramid scales the decoder finds larger people at the half scale. The border between
    the scales is soft, so it is random here. Images without people go to both.
    """
    count = len(person)
    size = np.sqrt(labels.area[np.arange(count), person]) * scale
    border = limit * np.exp(rng.uniform(-0.25, 0.25, count))
    return np.where(person >= 0, size < border, rng.random(count) < 0.7)


def _draw_pastes(
    labels: Labels, boxes: np.ndarray, rng: np.random.Generator, config: AugmentConfig
) -> tuple[Paste, np.ndarray]:
    """Return people to paste beside the people of other images, and which are mirrored (n,).

    Args:
        labels: People of the batch.
        boxes: (B, P, 4) current boxes in corner coordinates of the input.
        rng: Source of the choice.
        config: Probabilities.
    """
    count, crop = len(labels.size), config.crop
    sides = labels.box[..., 2:] - labels.box[..., :2]
    clean = (labels.mask_weight >= config.paste_weight) & (sides.min(axis=-1) >= config.paste_side)
    donors, people = np.nonzero(clean)
    choice = rng.integers(0, max(1, len(donors)), count)
    target = _choose(_in_crop(boxes, labels.area, crop), rng)
    rows = (labels.area > 0).sum(axis=1)
    pasted = (rng.random(count) < config.paste) & (rows < MAX_PEOPLE)
    offset = rng.uniform(-0.6, 0.6, (count, 2))
    ratio = np.exp(rng.uniform(np.log(0.6), np.log(1.5), count))
    angle = config.tilt * rng.uniform(-1, 1, count)
    flipped = rng.random(count) < 0.5
    free = crop * rng.uniform(0.1, 0.9, (count, 4)) * [1, 1, 0.5, 0.5]
    sample = np.flatnonzero(pasted) if len(donors) else np.zeros(0, int)
    sample = sample[donors[choice[sample]] != sample]
    donor, person = donors[choice[sample]], people[choice[sample]]

    at = boxes[sample, target[sample]]
    alone = (target[sample] < 0)[:, None]
    centre = np.where(
        alone, free[sample, :2], _centre(at) + offset[sample] * (at[:, 2:] - at[:, :2])
    )
    size = np.where(alone, free[sample, 2:], at[:, 2:] - at[:, :2])
    goal = np.sqrt(size.prod(axis=1)) * ratio[sample]
    scale = np.clip(goal / np.sqrt(sides[donor, person].prod(axis=1)), 0.2, 4.0)
    linear = _linear(scale, angle[sample], flipped[sample])
    affine = _mapping(linear, _centre(labels.box[donor, person]), centre)
    # the people of an image have its first rows, so their number is the first free row
    return Paste(sample, donor, person, rows[sample], affine), flipped[sample]


def _draw_patches(
    labels: Labels,
    area: np.ndarray,
    boxes: np.ndarray,
    rng: np.random.Generator,
    config: AugmentConfig,
) -> Patches:
    """Return patches from one side, round ones near the centre, and bars across a person's box."""
    count, crop = len(area), config.crop
    target = _choose(_in_crop(boxes, area, crop), rng)
    covered = (rng.random(count) < config.occlude) & (target >= 0)
    share = rng.uniform(*config.cover, count)
    kind, side = rng.integers(0, 3, count), rng.integers(0, 4, count)
    box = boxes[np.arange(count), target].clip(-crop, 2 * crop)
    middle, half = _centre(box), np.maximum((box[:, 2:] - box[:, :2]) / 2, 2.0)

    direction = np.array([[0, 1], [0, -1], [1, 0], [-1, 0]])[side]  # 0: from below, like a table
    along = direction != 0
    jitter = rng.uniform(-0.5, 0.5, (count, 2))
    aspect = np.exp(rng.uniform(-0.5, 0.5, count))[:, None] ** [1, -1]
    edge, blob = (kind == 0)[:, None], (kind == 1)[:, None]
    reach, share = (share + 0.15)[:, None], share[:, None]  # an edge patch ends 0.3 beyond the box
    # lengths in half sizes of the box
    centre = middle + half * np.where(edge, direction * (1.3 - reach), jitter)
    radius = half * np.select(
        [edge, blob],
        [np.where(along, reach, 1.3), np.sqrt(share * 4 / np.pi) * aspect],
        np.where(along, share, 1.6),
    )
    angle = np.deg2rad(rng.uniform(-20, 20, count)) * ~edge[:, 0]
    turn = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], axis=1)
    shape = _mapping(turn.reshape(-1, 2, 2) / radius[:, :, None], centre, np.zeros(2))

    donor = (np.arange(count) + rng.integers(1, max(2, count), count)) % count
    zoom = config.longest / labels.size[donor].max(axis=1) * np.exp(rng.uniform(0, 1.4, count))
    linear = _linear(zoom, rng.uniform(-180, 180, count), rng.random(count) < 0.5)
    origin = labels.size[donor] * rng.uniform(0.2, 0.8, (count, 2))
    texture = _mapping(linear, origin, centre)
    colour = rng.uniform(0, 255, (count, 3))
    s = np.flatnonzero(covered)
    return Patches(s, donor[s], texture[s], shape[s], blob[s, 0], colour[s])


def _draw_colours(count: int, rng: np.random.Generator, config: AugmentConfig) -> Colour:
    """Return one matrix for brightness, contrast, saturation, hue and white balance together."""

    def gain(width: float, *shape: int) -> np.ndarray:
        return 1 + width * rng.uniform(-1, 1, (count, *shape))

    mono = np.broadcast_to(np.array([0.299, 0.587, 0.114]), (3, 3))
    saturation = np.where(rng.random(count) < config.grey, 0.0, gain(config.saturation))
    matrix = mono + saturation[:, None, None] * (np.eye(3) - mono)
    angle = np.deg2rad(config.hue * rng.uniform(-1, 1, count))[:, None, None]
    axis = np.ones((3, 3)) / 3  # Rodrigues' rotation about (1, 1, 1)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    hue = np.cos(angle) * np.eye(3) + (1 - np.cos(angle)) * axis + np.sin(angle) * cross
    contrast = gain(config.contrast)
    both = contrast * gain(config.brightness)
    matrix = (both[:, None] * gain(config.channel, 3))[..., None] * (matrix @ hue)
    shift = np.broadcast_to((128 * (1 - contrast))[:, None], (count, 3))
    blur = (rng.random(count) < config.blur) * rng.integers(1, 3, count)
    noise = (rng.random(count) < config.noise) * config.noise_sigma * rng.random(count)
    return Colour(matrix, shift, blur, noise)


def _linear(scale: np.ndarray, degrees: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    """Return matrices (B, 2, 2) that mirror left and right, then rotate, then scale."""
    angle = np.deg2rad(degrees)
    cos, sin, sign = np.cos(angle), np.sin(angle), np.where(flipped, -1.0, 1.0)
    rows = np.stack([cos * sign, -sin, sin * sign, cos], axis=1).reshape(-1, 2, 2)
    return rows * scale[:, None, None]


def _mapping(linear: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return maps (B, 2, 3) of the matrices (B, 2, 2) that take ``start`` (B, 2) to ``end``."""
    shift = end - np.einsum("bij,bj->bi", linear, start)
    return np.concatenate([linear, shift[..., None]], axis=2)


def _area_factor(affine: np.ndarray) -> np.ndarray:
    """Return the factor (B,) by which areas grow."""
    return np.abs(np.linalg.det(affine[:, :, :2])).astype(np.float32)


def _centre(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _in_crop(boxes: np.ndarray, area: np.ndarray, crop: int) -> np.ndarray:
    centre = _centre(boxes)
    return (area > 0) & ((centre > 0) & (centre < crop)).all(axis=-1)


def _choose(allowed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one random allowed column for each row of (B, P); -1 for rows without any."""
    lots = np.where(allowed, rng.random(allowed.shape), -1.0)
    return np.where(allowed.any(axis=1), lots.argmax(axis=1), -1)
