"""Which Fast DDS profile the processes of a launch file get."""

from __future__ import annotations

import pytest

from kdc_ros.environment import FAST_DDS, MALLOC, config_file, fast_dds, image_environment


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in FAST_DDS:
        monkeypatch.delenv(name, raising=False)


def test_fast_dds_sets_our_profile_for_versions_2_and_3():
    assert fast_dds() == dict.fromkeys(FAST_DDS, str(config_file("fastdds_shm.xml")))


@pytest.mark.parametrize("name", FAST_DDS)
def test_fast_dds_keeps_a_profile_from_the_environment(monkeypatch, name):
    monkeypatch.setenv(name, "team.xml")
    assert fast_dds() == {}
    assert fast_dds("other.xml") == dict.fromkeys(FAST_DDS, "other.xml")


def test_fast_dds_none_sets_nothing():
    assert fast_dds("none") == {}
    assert image_environment("none") == MALLOC
