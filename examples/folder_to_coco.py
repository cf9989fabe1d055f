"""Annotate a folder of images: write the people as a COCO annotation file.

Usage: python folder_to_coco.py images/ annotations.json
"""

import json
import sys
from pathlib import Path

import kdc_core
from kdc_core.skeleton import KEYPOINTS


def main(folder: str, target: str) -> None:
    """Write the people in all images of ``folder`` to the COCO file ``target``."""
    images, annotations = [], []
    with kdc_core.load() as model:
        for number, (frame, people) in enumerate(model.track(folder), 1):
            width, height = frame.size
            name = frame.frame_id
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            for entry, person in zip(people.to_coco(image_id=number), people, strict=True):
                entry.update(id=len(annotations) + 1, iscrowd=0, area=int(person.mask.sum()))
                annotations.append(entry)
    category = {"id": 1, "name": "person", "keypoints": KEYPOINTS}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    Path(target).write_text(json.dumps(content), encoding="utf-8")
    print(f"{len(annotations)} people in {len(images)} images")


if __name__ == "__main__":
    main(*sys.argv[1:])
