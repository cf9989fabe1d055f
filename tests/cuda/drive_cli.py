"""Run a ``kdc`` command with a fake TensorRT; see helpers.py."""

import sys

from tests.cuda import fake_tensorrt

sys.modules["tensorrt"] = fake_tensorrt

from kdc_core.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
