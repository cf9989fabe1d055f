"""Use rendered people as training images: from files of ``kdc synth``, or rendered while training.

Real and rendered images form one pool, and copy-paste treats them alike: rendered people are pasted
in front of real ones and the other way round.
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
from kdc_lab.training.coco_reader import LoadReport, make_annotated_image, read_coco
from kdc_lab.training.data import Labels, Pack, Pool, Sources, epoch_order, mixed_order
from kdc_lab.training.hardware import DistributedContext, keep_resident
from kdc_lab.training.train_config import TrainConfig


def read_rendered(path: Path, report: LoadReport) -> Pack:
    """Read images of ``kdc synth``: its folder, the annotation file in it, or a pack."""
    if path.suffix == ".npz":
        pack = Pack.load(path)
        report.images += len(pack)
        report.people += len(pack.area)
        return pack
    return read_coco(path / synthetic_stills.ANNOTATIONS if path.is_dir() else path, report)


def open_pool(
    config: TrainConfig,
    pack: Pack,
    rendered: Pack | None,
    negatives: Sequence[Path],
    context: DistributedContext,
) -> Pool | LivePool:
    """Return the pool of a run: real images, then the rendered ones of ``--synth``.

    Args:
        config: Share of rendered images, and their number.
        pack: Real images; the tuning split is left out.
        rendered: Images of ``kdc synth``. None renders while training.
        negatives: Folders of images without people, the backgrounds of rendered people.
        context: Device of the pool.
    """
    real = pack.training()
    if not config.synth:
        return Pool(real, context.device, keep_resident(config, pack, context))
    if config.synth == 1:
        real = real.take(np.arange(0))
    if rendered is None:
        return LivePool(real, config, negatives, context)
    both = Pack.join([real, rendered])
    return Pool(both, context.device, keep_resident(config, both, context), rendered=len(rendered))


class LivePool:
    """A ``Pool`` whose last images are rendered by other processes on demand."""

    def __init__(
        self,
        real: Pack,
        config: TrainConfig,
        negatives: Sequence[Path],
        context: DistributedContext,
    ) -> None:
        self.rendered = config.synth_images
        self._real, self._seed, self._device = real, config.seed, context.device
        self._backgrounds = [path for folder in negatives for path in backgrounds_in(folder)]
        cores = max(1, (os.cpu_count() or 1) // context.world)
        self._processes = Processes(config.synth_workers or cores)
        self._packs: dict[int, Future[Pack]] = {}

    def __len__(self) -> int:
        return len(self._real) + self.rendered

    def prefetch(self, indices: np.ndarray) -> None:
        """Start to render those images of ``indices`` that do not exist yet."""
        for index in (indices[indices >= len(self._real)] - len(self._real)).tolist():
            if index not in self._packs:
                self._packs[index] = self._processes.submit(
                    render_pack, self._seed, index, self._backgrounds
                )

    def labels(self, indices: np.ndarray) -> Labels:
        """See ``Pool.labels``."""
        return self._pool(indices).labels(np.arange(len(indices)))

    def sources(self, indices: np.ndarray) -> Sources:
        """See ``Pool.sources``."""
        return self._pool(indices).sources(np.arange(len(indices)))

    def close(self) -> None:
        """Stop rendering."""
        self._processes.close()

    def _pool(self, indices: np.ndarray) -> Pool:
        self.prefetch(indices)
        count = len(self._real)
        packs = [
            self._real.take(np.array([i])) if i < count else self._packs[i - count].result()
            for i in indices.tolist()
        ]
        return Pool(Pack.join(packs), self._device, resident=False)


def step_indices(pool: Pool | LivePool, step: int, config: TrainConfig) -> np.ndarray:
    """Return the image indices (batch,) of a step, for all processes."""
    if not pool.rendered:
        return epoch_order(len(pool), config.batch, step, config.seed)
    real = len(pool) - pool.rendered
    return mixed_order(real, pool.rendered, config.synth, config.batch, step, config.seed)


def count_iterations(config: TrainConfig, pool: Pool | LivePool) -> int:
    """Return the steps in ``epochs`` passes over the real images, or the rendered ones alone."""
    real = len(pool) - pool.rendered
    passed = config.batch * (1 - config.synth) if real else config.batch
    return math.ceil(config.epochs * (real or len(pool)) / passed)


def render_pack(seed: int, index: int, backgrounds: list[Path]) -> Pack:
    """Return image ``index`` of ``kdc synth --seed`` as its file would be read.

    It is rendered on the CPU, because the GPU computes the network.
    """
    shot, data = synthetic_stills.render_jpeg(seed, SynthConfig(device="cpu"), backgrounds, index)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    entry, people = annotate(shot, index + 1)
    visible = [person for person in people if person["segmentation"]]
    return Pack.of([make_annotated_image(data, image, entry, visible, LoadReport())])
