"""Parameters: generated files, and wrong values that are refused with the reason."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import yaml
from rclpy.parameter import Parameter

from kdc_core.config import DecodeConfig
from kdc_ros import params
from kdc_ros.params import NodeConfig, as_value, changed, described, to_markdown, to_yaml

ROOT = Path(__file__).parents[2]


def test_params_yaml_has_the_defaults():
    text = yaml.safe_load((ROOT / "config" / "params.yaml").read_text())
    shown = {name: as_value(value) for name, value in text["/**"]["ros__parameters"].items()}
    assert shown == asdict(NodeConfig())


@pytest.mark.parametrize(
    ("file", "text"),
    [("config/params.yaml", to_yaml()), ("docs/reference/parameters.md", to_markdown())],
)
def test_generated_files_are_up_to_date(file, text):
    assert (ROOT / file).read_text("utf-8") == text, "run python -m kdc_ros.params, see its docs"


def test_params_main_prints_either_form(monkeypatch, capsys):
    for option, text in (("--yaml", to_yaml()), ("--markdown", to_markdown())):
        monkeypatch.setattr("sys.argv", ["params", option])
        params.main()
        assert capsys.readouterr().out == text


def test_params_module_needs_no_ros():
    code = "import sys; sys.modules['rclpy'] = None; import kdc_ros.params"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_described_has_every_parameter_in_order():
    rows = described()
    assert [row.name for row in rows] == [field.name for field in fields(NodeConfig)]
    assert {row.kind for row in rows} == {bool, int, float, str, tuple}
    assert all(row.description.endswith(".") for row in rows)


def test_node_config_describes_every_parameter():
    for field in fields(NodeConfig):
        assert len(field.metadata["description"]) > 15, field.name


def test_node_config_decode_is_the_default_of_the_core():
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
        ({"image_topics": ("/a", "/a")}, "image_topics: expected every topic only once"),
        ({"image_topics": tuple(f"/c{k}/i" for k in range(27))}, "expected up to 26"),
        ({"depth_topic": "/depth"}, "depth_topic and depth_info_topic: set both, or none"),
        (
            {"depth_topic": "/d", "depth_info_topic": "/i", "image_topics": ("/a/x", "/b/x")},
            "depth_topic: works with a single topic",
        ),
        ({"publish_hri": True, "tracking": False}, "publish_hri: needs tracking"),
        (
            {"device": "cuda", "engine": "openvino"},
            "engine 'openvino' runs on the CPU only and cannot be used with device 'cuda'",
        ),
        (
            {"device": "cpu", "engine": "tensorrt"},
            "engine 'tensorrt' runs on the GPU only and cannot be used with device 'cpu'",
        ),
        ({"image_transport": "theora"}, "expected one of raw, compressed, got 'theora'"),
    ],
)
def test_node_config_refuses_wrong_values_with_the_reason(values, words):
    with pytest.raises(ValueError, match=words):
        NodeConfig(**values)
    wanted = [Parameter(name, value=value) for name, value in values.items()]
    with pytest.raises(ValueError, match=words):
        changed(NodeConfig(), wanted, configured=False)


def test_engine_name_follows_the_device_unless_an_engine_is_named():
    chosen = {d: NodeConfig(device=d).engine_name for d in ("auto", "cpu", "cuda")}
    assert chosen == {"auto": "auto", "cpu": "cpu", "cuda": "tensorrt"}
    assert NodeConfig(device="cpu", engine="torch").engine_name == "torch"


def test_changed_takes_only_live_parameters_while_configured():
    before = NodeConfig()
    wanted = [Parameter("min_score", value=0.3), Parameter("use_sim_time", value=True)]
    assert changed(before, wanted, configured=True) == NodeConfig(min_score=0.3)
    engine = [Parameter("engine", value="torch")]
    with pytest.raises(ValueError, match="engine is read only when the node is configured"):
        changed(before, engine, configured=True)
    assert changed(before, engine, configured=False).engine == "torch"
    assert changed(before, [Parameter("engine", value="auto")], configured=True) == before
