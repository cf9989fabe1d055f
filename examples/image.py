"""Find the people in an image, print them, and write the image with the people drawn.

Usage: python image.py street.jpg people.jpg
"""

import sys

import cv2

import kdc_core


def main(source: str, target: str) -> None:
    """Print the people in the image ``source`` and write the drawn image to ``target``."""
    with kdc_core.load() as model:
        people = model(source)
    for person in people:
        print(f"person {person.id}: score {person.score:.2f}, {person.mask.sum()} pixels")
    cv2.imwrite(target, kdc_core.draw(cv2.imread(source), people))


if __name__ == "__main__":
    main(*sys.argv[1:])
