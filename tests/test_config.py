"""Configurations refuse values that no stage can work with."""

from __future__ import annotations

import json
import math

import pytest

from kdc_core.config import (
    EXACT,
    AssignConfig,
    CentroidConfig,
    CentroidMode,
    DecodeConfig,
    GroupConfig,
    HoughConfig,
    ModelInfo,
    ScoreConfig,
)
from kdc_core.errors import InputError

WRONG = [
    (HoughConfig, {"vote_stride": 0}, "vote_stride: expected 1 or more input pixels, got 0"),
    (HoughConfig, {"min_heat": 1.1}, "min_heat: expected 0 to 1, got 1.1"),
    (HoughConfig, {"peak_threshold": -0.1}, "peak_threshold: expected 0 to 1, got -0.1"),
    (HoughConfig, {"peak_threshold": math.nan}, "peak_threshold: expected 0 to 1, got nan"),
    (HoughConfig, {"max_peaks": 0}, "max_peaks: expected 1 or more, got 0"),
    (HoughConfig, {"refine_steps": -1}, "refine_steps: expected 0 or more, got -1"),
    (GroupConfig, {"max_people": 0}, "max_people: expected 1 to 65535, got 0"),
    (GroupConfig, {"max_people": 65536}, "max_people: expected 1 to 65535, got 65536"),
    (GroupConfig, {"seed_score": 2}, "seed_score: expected 0 to 1, got 2"),
    (GroupConfig, {"min_centre": -1}, "min_centre: expected 0 to 1, got -1"),
    (GroupConfig, {"match_radius": -0.5}, "match_radius: expected 0 or more, got -0.5"),
    (GroupConfig, {"duplicate": math.nan}, "duplicate: expected 0 or more, got nan"),
    (CentroidConfig, {"mode": "middle"}, "expected one of static, single, nearest, weighted, all"),
    (CentroidConfig, {"gate": 1.5}, "gate: expected 0 to 1, got 1.5"),
    (CentroidConfig, {"sigma_fallback": 0}, "sigma_fallback: expected more than 0, got 0"),
    (CentroidConfig, {"sigma_range": (0.5, 0.1)}, "sigma_range: expected 0 < low <= high"),
    (AssignConfig, {"min_seg": 1.2}, "min_seg: expected 0 to 1, got 1.2"),
    (AssignConfig, {"min_phi": -0.2}, "min_phi: expected 0 to 1, got -0.2"),
    (AssignConfig, {"near": 0.0}, "near: expected more than 0, got 0.0"),
    (AssignConfig, {"mean_shift_steps": -1}, "mean_shift_steps: expected 0 or more, got -1"),
    (AssignConfig, {"igo_sigma": -1.0}, "igo_sigma: expected 0 or more, got -1.0"),
    (ScoreConfig, {"min_mask": -1.0}, "min_mask: expected 0 or more, got -1.0"),
    (ScoreConfig, {"oks": (1.0, 2.0)}, "oks: expected 4 weights"),
    (ScoreConfig, {"iou": ()}, "iou: expected 4 weights"),
]


@pytest.mark.parametrize(("kind", "values", "message"), WRONG)
def test_config_refuses_values_out_of_range(kind: type, values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        kind(**values)


def test_config_accepts_the_ends_of_the_ranges() -> None:
    HoughConfig(vote_stride=1, min_heat=0, peak_threshold=1, max_peaks=1, refine_steps=0)
    GroupConfig(max_people=65535, seed_score=0, same_place=0, match_radius=0, duplicate=0)
    CentroidConfig(gate=0, sigma_range=(0.1, 0.1))
    AssignConfig(min_seg=0, min_phi=1, mean_shift_steps=0, igo_sigma=0)
    ScoreConfig(min_mask=0)
    assert EXACT != DecodeConfig()


@pytest.mark.parametrize("mode", CentroidMode)
def test_centroid_mode_is_its_value(mode: CentroidMode) -> None:
    assert CentroidConfig(mode=mode.value).mode is mode
    assert mode == mode.value == str(mode) == f"{mode}"
    assert json.dumps({mode: mode}) == f'{{"{mode.value}": "{mode.value}"}}'


def test_model_info_survives_its_metadata() -> None:
    info = ModelInfo("base", "resnet50", 512, 4, 1, 12.5, 3)
    assert ModelInfo.from_metadata(info.to_metadata()) == info
    assert (info.multiple, info.at(256).longest, info.at(None).longest) == (128, 256, 512)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kdc_stride": None}, "'kdc_stride' is missing or wrong"),
        ({"kdc_radius": "wide"}, "not a KDC model"),
        ({"kdc_octaves": "4"}, "expected 1 to 3 octaves, got 4"),
    ],
)
def test_model_info_refuses_other_metadata(changes: dict, message: str) -> None:
    text = {**ModelInfo().to_metadata(), **changes}
    with pytest.raises(InputError, match=message):
        ModelInfo.from_metadata({name: value for name, value in text.items() if value is not None})


def test_model_info_of_older_files_has_two_octaves() -> None:
    text = ModelInfo().to_metadata()
    del text["kdc_octaves"]
    assert ModelInfo.from_metadata(text).octaves == 2
