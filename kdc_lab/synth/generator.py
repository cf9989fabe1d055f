"""Generate pictures and videos of synthetic people.

``still`` makes one picture, ``clip`` a video; both are functions of the seed alone, on the CPU byte
for byte. The bodies are anny's (Apache-2.0, MakeHuman's CC0 shapes), drawn by warp on the CPU or a
GPU. Nothing heavy is imported before the first call.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kdc_lab.synth.rendered_frame import RenderedFrame
from kdc_lab.synth.synth_config import SynthConfig

_DEFAULT = SynthConfig()


def still(
    seed: int, config: SynthConfig = _DEFAULT, background: np.ndarray | None = None
) -> RenderedFrame:
    """One picture of people, the same for the same seed.

    ``background``: (H, W, 3) uint8 BGR picture without people, of any size; None: a drawn room or
    street. People of which nothing is in the picture are left out.
    Raises ``ValueError`` that tells what to install when packages are missing.
    """
    from kdc_lab.synth.bodies import load_model

    load_model()
    from kdc_lab.synth.still_sampling import still_scene

    scene = still_scene(seed, config, background)
    return scene.shot(0.0, np.random.default_rng([seed, 1]))


def clip(
    seed: int,
    config: SynthConfig = _DEFAULT,
    seconds: float = 10.0,
    fps: float = 30.0,
    background: np.ndarray | None = None,
) -> Iterator[RenderedFrame]:
    """A video, frame by frame; stamps count from 0 s, and the same motion comes at any ``fps``.

    A person who is fully hidden stays in the rows (``hidden`` = 1); one outside the picture is
    left out until back, with the same id.
    """
    from kdc_lab.synth.bodies import load_model

    load_model()
    from kdc_lab.synth.clip_sampling import clip_scene

    scene = clip_scene(seed, config, seconds, background)
    for frame in range(round(seconds * fps)):
        yield scene.shot(frame / fps, np.random.default_rng([seed, 3, frame]))
