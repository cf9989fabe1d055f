"""The tracker's tests are many small steps: threads would cost more than they bring."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(scope="package", autouse=True)
def _one_thread():
    torch = sys.modules.get("torch")  # only tests on drawn clips import it
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
