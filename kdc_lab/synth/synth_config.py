"""Configure the generator; every value is sampled anew for each seed."""

from __future__ import annotations

from dataclasses import dataclass

from kdc_core.errors import InputError


@dataclass(frozen=True)
class SynthConfig:
    """Ranges and probabilities of everything random in a scene."""

    size: tuple[int, int] = (480, 360)  # (width, height), pixels
    people: tuple[int, int] = (1, 20)  # minimum and maximum number of people in a scene
    crowding: float = 0.5  # 0: few people side by side; 1: many in front of each other
    camera_height: tuple[float, float] = (0.3, 3.0)  # metres above the ground: robot to ceiling
    focal: tuple[float, float] = (0.6, 1.6)  # focal length / image width: 80° to 35° field of view
    tilt: float = 8.0  # standard deviation of roll and pitch, degrees
    occluders: float = 0.6  # probability of objects between camera and people
    contact: float = 0.15  # probability that two people hug or hold hands
    effects: float = 1.0  # strength of blur, noise, exposure and JPEG; 0: none
    device: str = "auto"  # "auto", "cpu" or "cuda"

    def __post_init__(self) -> None:
        least, most = self.people
        if not 1 <= least <= most <= 250:
            raise InputError(f"people: expected 1 <= fewest <= most <= 250, got {self.people}")
        if not 32 <= min(self.size) <= max(self.size) <= 8192:  # float maps of gigabytes
            raise InputError(f"size: expected (width, height) of 32 to 8192, got {self.size}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise InputError(f"device: expected auto, cpu or cuda, got {self.device!r}")
        for name in ("crowding", "occluders", "contact"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected 0 to 1, got {getattr(self, name)}")
