"""Run PyCUDA and our host code over the fake libcuda; run by test_device.py.

Four threads share one driver and have their own buffers. At the end nothing may be leaked.
"""

import ctypes
import sys
import threading
import warnings
from dataclasses import replace

import numpy as np

from kdc_core.config import AssignConfig, CentroidConfig, CentroidMode, HoughConfig
from kdc_core.cuda.device import PycudaDriver
from kdc_core.cuda.kernels import Kernels, Layout
from kdc_core.decode.assign import assign
from kdc_core.decode.centroid import select
from kdc_core.decode.hough import vote
from tools.gpu_check.crowd_fields import crowd

warnings.simplefilter("error")
FAKE = ctypes.CDLL("libcuda.so.1")


def frames(driver: PycudaDriver, seed: int, errors: list) -> None:
    """Compare two frames, processed in one set of buffers, with the NumPy reference."""
    try:
        fields, poses = crowd(3, np.random.default_rng(seed), (200, 150), 160)
        kernels = Kernels(driver, Layout.of(fields, HoughConfig()))
        for _ in range(2):
            kernels.load(fields)
            kernels.vote()
            kernels.find_peaks()
            votes = vote(fields, HoughConfig())
            np.testing.assert_array_equal(driver.download(kernels.votes), votes)
            centroids, ids = select(fields, poses, CentroidConfig()), np.arange(1, 4)
            found = kernels.assign(centroids, ids, AssignConfig(), CentroidMode.WEIGHTED)
            expected = assign(fields, centroids, ids, AssignConfig(), CentroidMode.WEIGHTED)
            np.testing.assert_array_equal(found.labels, expected.labels)
            fields = replace(fields, heat=fields.heat * np.float32(0.5))
        if seed % 2:  # the driver frees the others
            kernels.close()
    except BaseException as error:
        errors.append(error)


def main() -> None:
    """Print what the fake driver observed."""
    driver, errors = PycudaDriver(), []
    threads = [threading.Thread(target=frames, args=(driver, i, errors)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    wild_copy(driver)
    driver.close()
    driver.close()
    try:
        driver.allocate((1,), np.float32)
    except ValueError as error:
        print("after close:", error)
    print("leaks:", FAKE.fake_leaks(), "calls without a context:", FAKE.fake_out_of_context())


def wild_copy(driver: PycudaDriver) -> None:
    """Check that the fake driver refuses a copy beyond a buffer."""
    small = driver.allocate((4,), np.float32)
    with driver:
        large = driver.cuda.pagelocked_empty(8, np.float32)
        try:
            driver.cuda.memcpy_htod_async(small.memory, large, driver.stream)
        except driver.cuda.LogicError:
            print("wild copy refused")
        del large


if __name__ == "__main__":
    sys.exit(main())
