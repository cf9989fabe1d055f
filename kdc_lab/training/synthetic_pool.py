"""Rendered people as training pictures: from a file made before, or rendered while training.

Either way there is one pool of real and rendered pictures, in which copy-paste knows no
difference: rendered people are pasted in front of real ones, and real ones in front of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import cv2
import numpy as np

from kdc_core.system import Processes
from kdc_lab.synth import SynthConfig, annotate, backgrounds_in, synthetic_stills
from kdc_lab.training.coco_reader import LoadReport, picture, read_coco
from kdc_lab.training.data import Labels, Pack, Pool, Sources, mixed_order, order
from kdc_lab.training.hardware import Site, keep_resident
from kdc_lab.training.train_config import TrainConfig


def read_rendered(path: Path, report: LoadReport) -> Pack:
    """Pictures made by ``kdc synth``: its folder, the annotation file in it, or a pack of them."""
    if path.suffix == ".npz":
        pack = Pack.load(path)
        report.pictures += len(pack)
        report.people += len(pack.area)
        return pack
    return read_coco(path / synthetic_stills.ANNOTATIONS if path.is_dir() else path, report)


def open_pool(
    config: TrainConfig, pack: Pack, rendered: Pack | None, negatives: Sequence[Path], site: Site
) -> Pool | LivePool:
    """What training draws from: real pictures, then the rendered ones that ``--synth`` asks for.

    Args:
        config: the share of rendered pictures, and how many different ones.
        pack: real pictures.
        rendered: pictures of ``kdc synth``; None: render while training.
        negatives: folders of pictures without people, used as backgrounds.
        site: where this process computes.
    """
    real = pack.training()
    if not config.synth:
        return Pool(real, site.device, keep_resident(config, pack, site))
    if config.synth == 1:
        real = real.take(np.arange(0))
    if rendered is None:
        return LivePool(real, config, negatives, site)
    both = Pack.join([real, rendered])
    return Pool(both, site.device, keep_resident(config, both, site), rendered=len(rendered))


class LivePool:
    """As ``Pool``; its last pictures are rendered by other processes when they are asked for."""

    def __init__(
        self, real: Pack, config: TrainConfig, negatives: Sequence[Path], site: Site
    ) -> None:
        self.rendered = config.synth_pictures
        self._real, self._seed, self._device = real, config.seed, site.device
        self._backgrounds = [path for folder in negatives for path in backgrounds_in(folder)]
        cores = max(1, (os.cpu_count() or 1) // site.world)
        self._processes = Processes(config.synth_workers or cores)
        self._packs: dict[int, Future[Pack]] = {}

    def __len__(self) -> int:
        return len(self._real) + self.rendered

    def expect(self, indices: np.ndarray) -> None:
        """Begin to render those of the pictures ``indices`` that are not there yet."""
        for index in (indices[indices >= len(self._real)] - len(self._real)).tolist():
            if index not in self._packs:
                self._packs[index] = self._processes.submit(
                    render, self._seed, index, self._backgrounds
                )

    def labels(self, indices: np.ndarray) -> Labels:
        """See ``Pool``."""
        return self._pool(indices).labels(np.arange(len(indices)))

    def sources(self, indices: np.ndarray) -> Sources:
        """See ``Pool``."""
        return self._pool(indices).sources(np.arange(len(indices)))

    def close(self) -> None:
        """Stop rendering."""
        self._processes.close()

    def _pool(self, indices: np.ndarray) -> Pool:
        self.expect(indices)
        count = len(self._real)
        packs = [self._real.take(np.array([i])) if i < count else self._packs[i - count].result()
                 for i in indices.tolist()]  # fmt: skip
        return Pool(Pack.join(packs), self._device, resident=False)


def order_of(pool: Pool | LivePool, step: int, config: TrainConfig) -> np.ndarray:
    """Pictures (batch,) of a step, of all processes."""
    if not pool.rendered:
        return order(len(pool), config.batch, step, config.seed)
    real = len(pool) - pool.rendered
    return mixed_order(real, pool.rendered, config.synth, config.batch, step, config.seed)


def iterations(config: TrainConfig, pool: Pool | LivePool) -> int:
    """Steps of ``epochs`` passes over the real pictures, or over the rendered ones alone."""
    real = len(pool) - pool.rendered
    passed = config.batch * (1 - config.synth) if real else config.batch
    return math.ceil(config.epochs * (real or len(pool)) / passed)


def render(seed: int, index: int, backgrounds: list[Path]) -> Pack:
    """Picture ``index`` of ``kdc synth --seed``, as its file would be read; without a GPU.

    The GPU has the network to compute.
    """
    shot, data = synthetic_stills.render_jpeg(seed, SynthConfig(device="cpu"), backgrounds, index)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    entry, people = annotate(shot, index + 1)
    seen = [person for person in people if person["segmentation"]]
    return Pack.of([picture(data, image, entry, seen, LoadReport())])
