"""The tracker's tests are many small steps: threads would cost more than they bring."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="package", autouse=True)
def _one_thread():
    torch = pytest.importorskip("torch", reason="perfect fields are made by the training targets")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
