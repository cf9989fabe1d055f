"""Open engine "auto" and run five frames on a failing fake GPU; run by test_trt_build.py."""

import logging
import sys
from pathlib import Path

import numpy as np

from tests.cuda import fake_tensorrt

sys.modules["tensorrt"] = fake_tensorrt

from kdc_core.engines import open_engine  # noqa: E402
from kdc_core.pipeline import open_pipeline  # noqa: E402
from kdc_core.types import Frame  # noqa: E402


def main(model: Path) -> None:
    """Print what a user would read."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
    logging.getLogger("kdc_core.engines.engine_factory").addFilter(_reason_only)
    logging.getLogger("kdc_core.engines").setLevel(logging.INFO)
    engine = open_engine("auto", model)
    print("opened", engine.name if "fake" in engine.name else "CPU")
    pipeline = open_pipeline(engine)
    frame = Frame(np.full((128, 160, 3), 90, np.uint8))
    try:
        for _ in range(5):
            pipeline(frame)
        print("5 frames")
    except ValueError as error:
        print(error)
        try:
            pipeline(frame)
        except ValueError as again:
            print(again)
    pipeline.close()
    pipeline.close()
    print("closed")


def _reason_only(record: logging.LogRecord) -> bool:
    """Keep warnings, and the line that names the obstacle to a GPU engine."""
    return "no GPU engine" in record.getMessage() or record.levelno >= logging.WARNING


if __name__ == "__main__":
    main(Path(sys.argv[1]))
