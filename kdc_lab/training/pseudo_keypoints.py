"""Add keypoints from a top-down pose network to people that have a box and no keypoints.

``python -m kdc_lab.training.pseudo_keypoints --model POSE.xml --annotations A.json --out B.json``

The network is an OpenVINO or ONNX model that reads one person (1, 3, H, W) RGB with ImageNet's mean
and deviation and returns 17 heatmaps in COCO's order, such as PP-TinyPose (Apache-2.0). The result
goes into ``keypoints_pseudo``: 17 x (x, y, confidence) in image pixels. ``keypoints``, which come
from humans, stay unchanged. The images lie in the folder ``images`` beside the annotation file.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from kdc_core.errors import InputError
from kdc_core.io import atomic_write, read_annotations, read_image
from kdc_core.skeleton import FLIP, K

MARGIN = 1.25  # factor on the box, as in the training of PP-TinyPose
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
MIN_SIDE = 12  # minimum longer side of a box in image pixels; smaller people show no joints
BATCH = 8  # people

log = logging.getLogger(__name__)


class PoseNetwork:
    """Runs a top-down pose network on boxes of one image."""

    def __init__(self, model: Path) -> None:
        import openvino

        core = openvino.Core()
        network = core.read_model(model)
        self.height, self.width = (
            int(network.inputs[0].partial_shape[i].get_length()) for i in (2, 3)
        )
        network.reshape({network.inputs[0]: [-1, 3, self.height, self.width]})
        self._run = core.compile_model(network, "CPU")

    def __call__(self, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return (P, 17, 3) x, y, confidence in image pixels for boxes (P, 4) x, y, w, h.

        The heatmaps are the mean of those of the crop and of its mirror image.
        """
        found = [self._read(image, boxes[i : i + BATCH]) for i in range(0, len(boxes), BATCH)]
        return np.concatenate(found) if found else np.zeros((0, K, 3), np.float32)

    def _read(self, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        affine = np.array([self._affine(box) for box in boxes])
        crops = np.array(
            [
                cv2.warpAffine(image, matrix, (self.width, self.height), flags=cv2.INTER_LINEAR)
                for matrix in affine
            ]
        )
        inputs = ((crops[..., ::-1] / np.float32(255) - MEAN) / STD).transpose(0, 3, 1, 2)
        heat = self._heatmaps(inputs)
        mirrored = self._heatmaps(np.ascontiguousarray(inputs[..., ::-1]))
        heat = (heat + mirrored[:, FLIP[:K], :, ::-1]) / 2
        points, confidence = decode_heatmaps(heat)
        stride = np.array([self.width / heat.shape[3], self.height / heat.shape[2]])
        points = points * stride
        back = np.array([cv2.invertAffineTransform(matrix) for matrix in affine])
        xy = np.einsum("pij,pkj->pki", back[:, :, :2], points) + back[:, None, :, 2]
        return np.concatenate([xy, confidence[..., None]], axis=2).astype(np.float32)

    def _heatmaps(self, inputs: np.ndarray) -> np.ndarray:
        return np.asarray(next(iter(self._run(inputs).values())))

    def _affine(self, box: np.ndarray) -> np.ndarray:
        """Matrix (2, 3) from the image to the crop around a box of the network's aspect ratio."""
        x, y, w, h = box
        centre = np.array([x + w / 2, y + h / 2])
        tall = MARGIN * max(h, w * self.height / self.width)
        scale = self.height / tall
        shift = np.array([self.width / 2, self.height / 2]) - scale * centre
        return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


def decode_heatmaps(heat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the maxima (P, K, 2) of heatmaps (P, K, h, w) in cells, and their values (P, K).

    The maximum is refined by one Newton step on the logarithm (DARK, Zhang et al. 2020, eq. 8).
    """
    p, k, h, w = heat.shape
    flat = heat.reshape(p, k, -1)
    at, confidence = flat.argmax(axis=2), flat.max(axis=2)
    y, x = np.divmod(at, w)
    points = np.stack([x, y], axis=2).astype(np.float64)
    smooth = np.log(np.maximum(gaussian_filter(heat, (0, 0, 0.8, 0.8)), 1e-10))
    inside = (x > 1) & (x < w - 2) & (y > 1) & (y < h - 2)
    for i, j in zip(*np.nonzero(inside), strict=True):
        m, cx, cy = smooth[i, j], x[i, j], y[i, j]
        gradient = np.array([m[cy, cx + 1] - m[cy, cx - 1], m[cy + 1, cx] - m[cy - 1, cx]]) / 2
        xx = (m[cy, cx + 2] - 2 * m[cy, cx] + m[cy, cx - 2]) / 4
        yy = (m[cy + 2, cx] - 2 * m[cy, cx] + m[cy - 2, cx]) / 4
        xy = (m[cy + 1, cx + 1] - m[cy - 1, cx + 1] - m[cy + 1, cx - 1] + m[cy - 1, cx - 1]) / 4
        determinant = xx * yy - xy * xy
        if abs(determinant) > 1e-12:
            step = (
                -np.array(
                    [yy * gradient[0] - xy * gradient[1], xx * gradient[1] - xy * gradient[0]]
                )
                / determinant
            )
            points[i, j] += np.clip(step, -1, 1)
    return points, confidence


def unlabelled(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the people that have a box and neither human nor pseudo keypoints."""
    return [
        a
        for a in annotations
        if not a.get("iscrowd")
        and not any((a.get("keypoints") or [])[2::3])
        and not a.get("keypoints_pseudo")
        and max(a["bbox"][2:]) >= MIN_SIDE
    ]


def label(content: dict[str, Any], folder: Path, network: PoseNetwork) -> int:
    """Add ``keypoints_pseudo`` to the people in ``content``; return how many got them."""
    count = 0
    for entry, people in _by_image(content):
        image = read_image(folder / entry["file_name"])
        poses = network(image, np.array([a["bbox"] for a in people], np.float64))
        for annotation, pose in zip(people, poses, strict=True):
            annotation["keypoints_pseudo"] = np.round(pose.reshape(-1), 2).tolist()
        count += len(people)
    return count


def _by_image(content: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    people: dict[int, list[dict[str, Any]]] = {}
    for annotation in unlabelled(content["annotations"]):
        people.setdefault(annotation["image_id"], []).append(annotation)
    for entry in content["images"]:
        if entry["id"] in people:
            yield entry, people[entry["id"]]


def main(argv: list[str] | None = None) -> int:
    """Read the command line, label the people, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="pose network, .xml or .onnx")
    parser.add_argument("--annotations", type=Path, required=True, help="COCO person annotations")
    parser.add_argument("--out", type=Path, required=True, help="annotation file to write")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.out.resolve() == args.annotations.resolve():
        raise InputError("--out and --annotations are the same file: choose another --out")
    content = read_annotations(args.annotations)
    count = label(content, args.annotations.parent / "images", PoseNetwork(args.model))
    atomic_write(args.out, json.dumps(content).encode())
    log.info("%s: %d people got keypoints", args.out, count)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
