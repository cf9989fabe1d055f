"""Track people in a loop of your own: read a webcam, and print where the people are.

Usage: python webcam.py [camera index, default 0]
"""

import sys

import cv2

import kdc_core


def main(source: int | str = 0) -> None:
    """Print the position of every person in every frame until the camera is closed."""
    capture = cv2.VideoCapture(source)
    with kdc_core.load() as model:
        session = model.session()  # one for each camera: it holds the tracks
        while True:
            good, image = capture.read()
            if not good:
                break
            result = session(kdc_core.Frame(image))  # no stamp: the time of arrival counts
            for person in result.people:
                x, y = person.centroid
                print(f"person {person.id} at {x:.0f}, {y:.0f} ({person.phase.name.lower()})")
            for switch in result.switches:
                print(f"person {switch.id}: the centroid moved, {switch.reason}")
    capture.release()


if __name__ == "__main__":
    main(*(int(text) if text.isdecimal() else text for text in sys.argv[1:]))
