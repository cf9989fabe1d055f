"""Generate images and videos of synthetic people.

``still`` renders one image and ``clip`` a video. Both depend on the seed alone, byte for byte on
the CPU. The bodies come from anny (Apache-2.0, with MakeHuman's CC0 shapes) and are rendered by
warp on the CPU or a GPU. Heavy packages are imported at the first call.
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
    """Render one image of people; the same seed gives the same image.

    People outside the image are left out.

    Args:
        seed: Source of everything random.
        config: Ranges and probabilities of the scene.
        background: (H, W, 3) uint8 BGR image without people, of any size. None draws a room or a
            street.

    Raises:
        InputError: A package is missing; the message says what to install.
    """
    from kdc_lab.synth.bodies import load_model

    load_model()
    from kdc_lab.synth.still_sampling import still_scene

    scene = still_scene(seed, config, background)
    return scene.render_frame(0.0, np.random.default_rng([seed, 1]))


def clip(
    seed: int,
    config: SynthConfig = _DEFAULT,
    seconds: float = 10.0,
    fps: float = 30.0,
    background: np.ndarray | None = None,
) -> Iterator[RenderedFrame]:
    """Render a video frame by frame.

    Stamps start at 0 s, and the motion does not depend on ``fps``. A fully hidden person keeps a
    row (``hidden`` = 1). A person outside the image has no row until it returns, with the same id.

    Args:
        seed: Source of everything random.
        config: Ranges and probabilities of the scene.
        seconds: Length of the video.
        fps: Frames per second.
        background: As in ``still``; the camera does not move in front of an image.

    Raises:
        InputError: A package is missing; the message says what to install.
    """
    from kdc_lab.synth.bodies import load_model

    load_model()
    from kdc_lab.synth.clip_sampling import clip_scene

    scene = clip_scene(seed, config, seconds, background)
    for frame in range(round(seconds * fps)):
        yield scene.render_frame(frame / fps, np.random.default_rng([seed, 3, frame]))
