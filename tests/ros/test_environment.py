"""Which Fast DDS profile the processes of a launch file get."""

from __future__ import annotations

import pytest

from kdc_ros.environment import FAST_DDS, MALLOC, config_file, fast_dds, pictures


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in FAST_DDS:
        monkeypatch.delenv(name, raising=False)


def test_fast_dds_2_and_3_get_ours():
    assert fast_dds() == dict.fromkeys(FAST_DDS, str(config_file("fastdds_shm.xml")))


@pytest.mark.parametrize("name", FAST_DDS)
def test_a_profile_that_the_environment_names_is_left_alone(monkeypatch, name):
    monkeypatch.setenv(name, "team.xml")
    assert fast_dds() == {}
    assert fast_dds("other.xml") == dict.fromkeys(FAST_DDS, "other.xml")


def test_none_is_none():
    assert fast_dds("none") == {}
    assert pictures("none") == MALLOC
