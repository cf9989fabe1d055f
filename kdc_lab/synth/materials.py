"""Sample colours and materials of skin, hair, cloth, walls and objects."""

from __future__ import annotations

import numpy as np

from kdc_lab.synth.shading import (
    BRICKS,
    CHECKS,
    CLOUDS,
    DOTS,
    JACKET,
    PLAIN,
    PRINT,
    STRIPES,
    WINDOWS,
)


def srgb_to_linear(rgb: np.ndarray) -> np.ndarray:
    """Return linear light of sRGB values in [0, 1]."""
    return np.asarray(rgb, float) ** 2.2


def material(
    rng: np.random.Generator,
    first: np.ndarray,
    second: np.ndarray | None = None,
    kind: int = PLAIN,
    size: float = 1.0,
    grain: float = 0.08,
) -> np.ndarray:
    """Return one row (10,) of the table that ``shading.pattern`` reads.

    Args:
        rng: Source of the row's seed.
        first: (3,) first colour, sRGB in [0, 1].
        second: (3,) second colour of the pattern; default: the first colour.
        kind: Pattern, such as ``shading.STRIPES``.
        size: Size of the pattern in metres.
        grain: Roughness of the colour.
    """
    second = first if second is None else second
    seed = rng.integers(1 << 20)
    return np.array(
        [kind, size, *srgb_to_linear(first), *srgb_to_linear(second), grain, seed], np.float32
    )


def random_colour(rng: np.random.Generator, vivid: float = 0.5) -> np.ndarray:
    """Return a random sRGB colour of any hue; ``vivid`` 0 gives grey, 1 up to full saturation."""
    return _hsv(rng.uniform(0, 6), vivid * rng.random(), rng.beta(1.3, 1.3) * 0.9 + 0.05)


def muted_colour(rng: np.random.Generator) -> np.ndarray:
    """Return a colour of walls, floors and furniture: mostly grey, beige or brown."""
    hue = rng.choice(
        [rng.normal(0.55, 0.25), rng.normal(3.6, 0.3), rng.normal(2.0, 0.4), rng.uniform(0, 6)],
        p=[0.6, 0.15, 0.13, 0.12],
    )
    return _hsv(hue % 6, 0.5 * rng.beta(1.2, 2.2), rng.beta(1.6, 1.3) * 0.9 + 0.05)


def clothing_colour(rng: np.random.Generator) -> np.ndarray:
    """Return a colour of clothes: black, grey, white and denim in half of the cases."""
    if rng.random() < 0.35:
        return np.clip(rng.beta(0.6, 0.6) * 0.85 + 0.06 + rng.normal(0, 0.01, 3), 0, 1)
    if rng.random() < 0.2:
        return _hsv(rng.normal(3.6, 0.1), rng.uniform(0.3, 0.7), rng.uniform(0.15, 0.6))
    return random_colour(rng, 0.9)


def _hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """Return the sRGB colour (3,) of a hue in sixths of a turn from red."""
    ramp = np.clip(np.abs((hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return value * (1 - saturation * (1 - ramp))


def skin(rng: np.random.Generator) -> np.ndarray:
    """Return a skin colour, from very pale to very dark, with a little more or less red."""
    tones = np.array(
        [
            (0.98, 0.84, 0.76),
            (0.91, 0.72, 0.60),
            (0.78, 0.56, 0.42),
            (0.55, 0.36, 0.25),
            (0.33, 0.21, 0.15),
        ]
    )
    place = rng.uniform(0, len(tones) - 1)
    low = int(min(place, len(tones) - 2))
    tone = tones[low] + (place - low) * (tones[low + 1] - tones[low])
    return np.clip(tone * rng.normal(1, 0.03, 3), 0, 1)


def hair(rng: np.random.Generator) -> np.ndarray:
    """Return a hair colour: mostly black and brown, then blond, red, grey and dyed."""
    tones = [
        (0.07, 0.06, 0.06),
        (0.18, 0.12, 0.09),
        (0.32, 0.21, 0.13),
        (0.72, 0.57, 0.36),
        (0.50, 0.24, 0.13),
        (0.62, 0.61, 0.60),
    ]
    if rng.random() < 0.04:
        return random_colour(rng, 1.0)
    index = rng.choice(len(tones), p=[0.33, 0.25, 0.18, 0.1, 0.05, 0.09])
    return np.clip(np.array(tones[index]) * rng.normal(1, 0.1), 0, 1)


def cloth_material(rng: np.random.Generator, plain: float = 0.45) -> np.ndarray:
    """Return a garment's material: plain with probability ``plain``, else with a pattern."""
    first, second = clothing_colour(rng), clothing_colour(rng)
    if rng.random() < plain:
        return material(rng, first, grain=0.12)
    kind = rng.choice(
        [STRIPES, CHECKS, DOTS, CLOUDS, JACKET, PRINT], p=[0.2, 0.18, 0.1, 0.12, 0.2, 0.2]
    )
    large = {CLOUDS: (0.03, 0.3), JACKET: (0.15, 0.4), PRINT: (0.12, 0.3)}
    size = rng.uniform(*large.get(kind, (0.03, 0.14)))
    return material(rng, first, second, kind, size, 0.1)


def surface(rng: np.random.Generator) -> np.ndarray:
    """Return the material of a wall or piece of furniture: mostly two similar muted colours."""
    first = muted_colour(rng)
    second = first + rng.uniform(0.1, 0.7) * (muted_colour(rng) - first)
    kind = rng.choice(
        [PLAIN, CLOUDS, BRICKS, CHECKS, STRIPES, WINDOWS], p=[0.35, 0.3, 0.15, 0.03, 0.07, 0.1]
    )
    size = rng.uniform(0.2, 1.2) if kind != WINDOWS else rng.uniform(1.5, 3.0)
    return material(rng, first, second, kind, size, rng.uniform(0.05, 0.3))


def floor(rng: np.random.Generator) -> np.ndarray:
    """Return a floor material: carpet, concrete, tiles, planks or grass."""
    first = muted_colour(rng)
    second = first * rng.uniform(0.65, 1.25)
    kind = rng.choice([PLAIN, CLOUDS, BRICKS, CHECKS], p=[0.3, 0.35, 0.25, 0.1])
    return material(
        rng, first, np.clip(second, 0, 1), kind, rng.uniform(0.3, 1.5), rng.uniform(0.05, 0.35)
    )
