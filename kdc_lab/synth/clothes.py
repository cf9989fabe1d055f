"""Dress a body: garments of random cut and looseness, hair, shoes, and an object in a hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kdc_lab.synth import materials
from kdc_lab.synth.attachments import handheld, hat_brim, leg_height, long_hair, shoe, skirt
from kdc_lab.synth.bodies import BONE, BONES, BodyShape
from kdc_lab.synth.dressed_body import DressedBody
from kdc_lab.synth.joints import Rig
from kdc_lab.synth.mesh import Mesh, join

HEAD, TORSO, ARM, HAND, LEG, FOOT = range(6)  # regions of a body
_REGION_OF = {
    "head": HEAD,
    "neck03": HEAD,
    "upperarm01": ARM,
    "upperarm02": ARM,
    "lowerarm01": ARM,
    "lowerarm02": ARM,
    "wrist": HAND,
    "upperleg01": LEG,
    "upperleg02": LEG,
    "lowerleg01": LEG,
    "lowerleg02": LEG,
    "foot": FOOT,
}
HAIR, TOP, BOTTOM, SHOES, SKIN, WHITE, DARK = range(7)  # material rows; the first four are covers


@dataclass(frozen=True)
class Outfit:
    """Cut of the clothes of one person.

    Lengths along a limb run from 0 at its root over 1 at the middle joint to 2 at its end.
    """

    sleeve: float  # 0.1 none … 1.95 to the wrist
    trousers: float  # 0.3 shorts … 1.95 to the ankle
    hem: float  # metres below the pelvis (negative: above) at which the top ends
    neckline: float  # metres below the base of the neck
    loose_top: float  # metres off the skin
    loose_bottom: float
    skirt: float  # 0 none; else where it ends along the leg
    shod: bool  # wears shoes
    hair: str  # "bald", "short", "full", "long", "hat"
    held: str  # "", "bag", "box", "stick"

    @classmethod
    def random(cls, rng: np.random.Generator, gender: float) -> Outfit:
        """Return a random outfit.

        Args:
            rng: Source of the choice.
            gender: As in the phenotype: 0 male, 1 female. It shifts the probabilities a little.
        """
        skirted = rng.random() < (0.3 if gender > 0.5 else 0.02)
        styles = ("bald", "short", "full", "long", "hat")
        chances = (0.02, 0.18, 0.25, 0.45, 0.1) if gender > 0.5 else (0.1, 0.5, 0.2, 0.05, 0.15)
        return cls(
            sleeve=float(
                rng.choice(
                    [0.12, rng.uniform(0.3, 0.9), rng.uniform(1.5, 1.95)], p=[0.12, 0.43, 0.45]
                )
            ),
            trousers=float(
                rng.choice([rng.uniform(0.35, 1.0), rng.uniform(1.7, 1.95)], p=[0.25, 0.75])
            ),
            hem=float(
                rng.choice(
                    [-0.06, rng.uniform(0.04, 0.16), rng.uniform(0.2, 0.5)], p=[0.45, 0.46, 0.09]
                )
            ),
            neckline=float(rng.choice([-0.02, rng.uniform(0.0, 0.06)])),
            loose_top=float(rng.choice([rng.uniform(0.003, 0.012), rng.uniform(0.012, 0.04)])),
            loose_bottom=float(rng.uniform(0.003, 0.03)),
            skirt=float(rng.uniform(0.5, 1.6)) if skirted else 0.0,
            shod=bool(rng.random() < 0.93),
            hair=str(rng.choice(styles, p=chances)),
            held=str(rng.choice(["", "bag", "box", "stick"], p=[0.78, 0.1, 0.06, 0.06])),
        )


def dress(rig: Rig, rng: np.random.Generator, gender: float) -> DressedBody:
    """Return a person in a random outfit; ``gender`` as in ``Outfit.random``."""
    body = rig.body
    outfit = Outfit.random(rng, gender)
    region, along = _body_regions(body)
    garment_depth = _garment_depths(body, outfit, region, along, rng)
    vertices = _dressed_vertices(body, outfit, garment_depth, along, rng)
    faces = body.model.faces
    rest = Mesh(
        vertices,
        body.model.normals(vertices),
        body.vertices,
        faces,
        _skin_and_eyes(body),
        np.stack(_palette(rng)),
        np.ones(len(vertices), bool),
        garment_depth.astype(np.float32),
    )
    extra = [shoe(body, side, SHOES) for side in "LR"] if outfit.shod else []
    if outfit.skirt:
        bottom = leg_height(body, outfit.skirt)
        flare = rng.uniform(0.01, 0.12)
        loose = max(outfit.loose_bottom, outfit.loose_top) + 0.008
        extra.append(skirt(body, bottom, loose, flare, BOTTOM, rng))
    if outfit.hem > 0:  # a shirt's tail, a tunic or a coat
        flare = rng.uniform(0.0, 0.04)
        extra.append(skirt(body, -outfit.hem, outfit.loose_top + 0.012, flare, TOP, rng))
    if outfit.hair == "long":
        extra.append(long_hair(body, HAIR, rng))
    if outfit.hair == "hat" and rng.random() < 0.6:
        extra.append(hat_brim(body, HAIR, rng))
    if outfit.held:
        extra.append(handheld(body, outfit.held, rng))
    return _assemble(rig, rest, extra)


def _palette(rng: np.random.Generator) -> list[np.ndarray]:
    """Return the material rows from HAIR to DARK."""
    top = materials.cloth_material(rng)
    return [
        materials.material(rng, materials.hair(rng), grain=0.35),
        top,
        top if rng.random() < 0.08 else materials.cloth_material(rng, plain=0.8),
        materials.material(rng, materials.clothing_colour(rng)),
        materials.material(rng, materials.skin(rng), grain=0.06),
        materials.material(rng, np.full(3, 0.85), grain=0.0),
        materials.material(rng, np.full(3, 0.08), grain=0.0),
    ]


def _body_regions(body: BodyShape) -> tuple[np.ndarray, np.ndarray]:
    """Return the region (V,) of each vertex and its position (V,) along its limb, 0 to 2."""
    regions = np.array([_REGION_OF.get(name.split(".")[0], TORSO) for name in BONES])
    share = body.model.weights @ (regions[:, None] == np.arange(6)).astype(np.float32)
    region = share.argmax(axis=1)
    along = np.zeros(len(body.vertices))
    for kind, names in (
        (ARM, ("upperarm01", "lowerarm01", "wrist")),
        (LEG, ("upperleg01", "lowerleg01", "foot")),
    ):
        for side, half in (("L", body.vertices[:, 0] >= 0), ("R", body.vertices[:, 0] < 0)):
            which = (region == kind) & half
            points = body.vertices[which]
            first, second, third = (body.heads[BONE[f"{name}.{side}"]] for name in names)
            upper = _projected(points, first, second)
            along[which] = np.where(upper < 1, upper, 1 + _projected(points, second, third))
    along[(region == HAND) | (region == FOOT)] = 2.0
    return region, np.clip(along, 0, 2)


def _projected(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    axis = end - start
    return (points - start) @ axis / (axis @ axis)


def _garment_depths(
    body: BodyShape, outfit: Outfit, region: np.ndarray, along: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return how deep (V, 4) each vertex lies inside HAIR, TOP, BOTTOM and SHOES.

    The unit is metres; negative values are outside of the garment.
    """
    y, z = body.vertices[:, 1], body.vertices[:, 2]
    strands = 0.012 * np.sin(body.vertices @ rng.normal(0, 90, 3) + rng.uniform(0, 6))
    result = np.full((len(z), 4), -0.2)
    result[:, HAIR] = (
        -0.2 if outfit.hair == "bald" else _depth_below_hairline(body, region) + strands
    )
    neck = body.heads[BONE["neck01"], 2] - outfit.neckline
    # deeper in front than behind
    under = np.clip(neck + np.interp(y, [-0.15, 0.08], [-0.08, 0.04]) - z, -0.2, 0.2)
    above = z + min(outfit.hem, 0.0)
    arm = 0.28 * (outfit.sleeve - along)
    result[:, TOP] = np.minimum(under, np.where(region == ARM, arm, above))
    result[(region == HEAD) | (region == HAND), TOP] = -0.2
    waist = body.heads[BONE["spine04"], 2] - z
    leg = 0.4 * (outfit.trousers - along)
    result[:, BOTTOM] = np.where(region == LEG, leg, np.where(region == TORSO, waist, -0.2))
    if outfit.shod:
        sole = body.heads[BONE["foot.L"], 2] + 0.02 - z
        result[:, SHOES] = np.where(region == FOOT, 0.1, np.where(region == LEG, sole, -0.2))
    return result


def _depth_below_hairline(body: BodyShape, region: np.ndarray) -> np.ndarray:
    """Return the metres (V,) above the hairline, from the forehead over the ears to the nape."""
    head = body.vertices[region == HEAD]
    low, high = head.min(axis=0), head.max(axis=0)
    size = high[2] - body.heads[BONE["head"], 2]
    depth = (body.vertices[:, 1] - low[1]) / (high[1] - low[1])  # 0 nose … 1 back of the head
    line = np.interp(depth, [0.12, 0.3, 0.5, 0.62, 1.0], [0.2, 0.3, 0.6, 0.95, 1.1])
    return np.where(region == HEAD, body.vertices[:, 2] - high[2] + size * line, -0.2)


def _skin_and_eyes(body: BodyShape) -> np.ndarray:
    """Return the materials (F,) of the naked body: skin, and eyes painted onto the eyeballs."""
    rows = np.full(len(body.vertices), SKIN)
    for side in (1, -1):
        ball = body.model.eyes & (side * body.vertices[:, 0] > 0)
        front = body.vertices[ball, 1].min()
        middle = np.median(body.vertices[ball][:, (0, 2)], axis=0)
        near = np.linalg.norm(body.vertices[:, (0, 2)] - middle, axis=1) < 0.007
        rows[ball] = WHITE
        rows[ball & near & (body.vertices[:, 1] < front + 0.01)] = DARK
    return rows[body.model.faces[:, 0]].astype(np.int32)


def _dressed_vertices(
    body: BodyShape,
    outfit: Outfit,
    garment_depth: np.ndarray,
    along: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the vertices (V, 3) of the dressed surface.

    Cloth stands off the skin and hides details of the body.
    """
    is_cloth = (garment_depth[:, TOP:] > 0).any(axis=1)
    smooth = body.vertices
    for _ in range(8):
        smooth = np.where(is_cloth[:, None], body.model.smoothing @ smooth, smooth)
    waves = np.sin(body.vertices @ rng.normal(0, 30, (3, 3)) + rng.uniform(0, 6, 3)).mean(axis=1)
    flare = (0.6 + 0.5 * along) * (1 + 0.4 * waves)  # wider towards the ends of sleeves and legs
    lip = np.clip(garment_depth[:, TOP] / 0.02, 0.2, 1)  # it lies on the skin where it ends
    thick = {"bald": 0.0, "short": 0.008, "full": 0.028, "long": 0.02, "hat": 0.022}[outfit.hair]
    off = np.select(
        [garment_depth[:, row] > 0 for row in range(4)],
        [
            thick * np.clip(garment_depth[:, HAIR] / 0.03, 0.2, 1),
            outfit.loose_top * flare * lip + 0.004,
            outfit.loose_bottom * flare + 0.004,
            0.004,
        ],
        0.0,
    )
    return smooth + body.model.normals(smooth) * off[:, None]


def _assemble(rig: Rig, rest: Mesh, extra: list[tuple[Mesh, np.ndarray]]) -> DressedBody:
    """Return the body and its attachments, each (mesh, weights), as one figure."""
    parts = [rest, *(mesh for mesh, _ in extra)]
    joined, source, first_rows = join(parts)
    uses_own_table = np.array(
        [not len(part.table) for part in parts]
    )  # has rows of the person's own table
    joined = replace(
        joined,
        vertices=joined.vertices.astype(np.float32),
        normals=joined.normals.astype(np.float32),
        material_xyz=joined.material_xyz.astype(np.float32),
        materials=(joined.materials - uses_own_table[source] * first_rows).astype(np.int32),
    )
    weights = [rig.body.model.weights, *(bones.astype(np.float32) for _, bones in extra)]
    return DressedBody(rig, joined, np.concatenate(weights))
