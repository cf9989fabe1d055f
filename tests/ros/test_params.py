"""Parameters: one source of defaults, wrong values refused with the reason."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import yaml
from rclpy.parameter import Parameter

from kdc_core.config import DecodeConfig
from kdc_ros.params import NodeConfig, _plain, changed

ROOT = Path(__file__).parents[2]


def test_the_example_file_shows_the_defaults():
    text = yaml.safe_load((ROOT / "config" / "params.yaml").read_text())
    shown = {name: _plain(value) for name, value in text["/**"]["ros__parameters"].items()}
    assert shown == asdict(NodeConfig())


def test_every_parameter_is_described():
    for field in fields(NodeConfig):
        assert len(field.metadata["description"]) > 15, field.name


def test_the_decoder_is_the_default_one_but_for_the_reported_score():
    default = DecodeConfig()
    config = NodeConfig()
    assert config.decode == default
    config = NodeConfig(min_score=0.4, peak_threshold=0.1, mask_threshold=0.6, centroid_mode="all")
    assert config.decode.hough.peak_threshold == 0.1
    assert config.decode.assign.min_seg == 0.6
    assert config.decode.centroid.mode == "all"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"min_score": 1.01}, "min_score: expected 0.0 to 1.0, got 1.01"),
        ({"min_score": -0.1}, "min_score: expected"),
        ({"mask_threshold": math.nan}, "mask_threshold: expected .* got nan"),
        ({"threads": -1}, "threads: expected 0 to 256, got -1"),
        ({"centroid_mode": "best"}, "centroid_mode: expected one of static, .* got 'best'"),
        ({"image_reliability": "Reliable"}, "expected one of auto, reliable, best_effort"),
        ({"image_topics": ()}, "image_topics: expected names"),
        ({"image_topics": ("/a", "/a")}, "image_topics: expected each once"),
        ({"image_topics": tuple(f"/c{k}/i" for k in range(27))}, "expected up to 26"),
        ({"depth_topic": "/depth"}, "depth_topic, depth_info_topic: expected both or none"),
        (
            {"depth_topic": "/d", "depth_info_topic": "/i", "image_topics": ("/a/x", "/b/x")},
            "depth_topic: expected a single topic",
        ),
        ({"publish_hri": True, "tracking": False}, "publish_hri: expected tracking"),
        ({"device": "cuda", "engine": "openvino"}, "openvino runs on the CPU"),
        ({"device": "cpu", "engine": "tensorrt"}, "tensorrt runs on the GPU"),
        ({"image_transport": "theora"}, "expected one of raw, compressed, got 'theora'"),
    ],
)
def test_wrong_values_are_refused_with_the_reason(values, words):
    with pytest.raises(ValueError, match=words):
        NodeConfig(**values)
    wanted = [Parameter(name, value=value) for name, value in values.items()]
    with pytest.raises(ValueError, match=words):
        changed(NodeConfig(), wanted, configured=False)


def test_the_device_chooses_the_engine_unless_one_is_named():
    chosen = {d: NodeConfig(device=d).engine_name for d in ("auto", "cpu", "cuda")}
    assert chosen == {"auto": "auto", "cpu": "cpu", "cuda": "tensorrt"}
    assert NodeConfig(device="cpu", engine="torch").engine_name == "torch"


def test_live_parameters_change_while_configured_and_others_do_not():
    before = NodeConfig()
    wanted = [Parameter("min_score", value=0.3), Parameter("use_sim_time", value=True)]
    assert changed(before, wanted, configured=True) == NodeConfig(min_score=0.3)
    engine = [Parameter("engine", value="torch")]
    with pytest.raises(ValueError, match="engine is read when the node is configured"):
        changed(before, engine, configured=True)
    assert changed(before, engine, configured=False).engine == "torch"
    assert changed(before, [Parameter("engine", value="auto")], configured=True) == before
