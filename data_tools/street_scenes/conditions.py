"""Weather and light of a scene, each with a continuous strength."""

import dataclasses
import math

import numpy as np

from data_tools.street_scenes.draws import between, chance, pick

MILD_KINDS = ("clear", "overcast")
# Kinds of the full variety with their shares.
FULL_KINDS = {
    "clear": 0.18,
    "overcast": 0.16,
    "rain": 0.14,
    "fog": 0.13,
    "low_sun": 0.12,
    "night": 0.15,
    "snow": 0.12,
}
# Share of mild scenes that are not clear or overcast but a weak form of another kind.
_MILD_EXCEPTIONS = 0.12


@dataclasses.dataclass(frozen=True)
class Condition:
    """Weather, light and camera response of one scene; unnamed units are shares, 0 to 1.

    Attributes:
        kind: the name that was drawn, one of `FULL_KINDS`.
        strength: how strongly that kind shows.
        cloud: cover of the sky.
        rain: density of rain; `wet` is how much the ground mirrors.
        fog: haze per metre.
        snow: cover on the ground and flakes in the air.
        darkness: 0 is day, 1 is night.
        low_sun: warmth and glare of a sun near the horizon.
        azimuth: direction of the sun, radians to the right of the view.
        elevation: height of the sun, radians.
        exposure, warmth, saturation, gamma: the camera's response, 1 is neutral (warmth: 0).
        noise: standard deviation of sensor noise, as a share of full scale.
    """

    kind: str
    strength: float
    cloud: float
    rain: float
    wet: float
    fog: float
    snow: float
    darkness: float
    low_sun: float
    azimuth: float
    elevation: float
    exposure: float
    warmth: float
    saturation: float
    gamma: float
    noise: float

    @property
    def direction(self) -> tuple[float, float, float]:
        """Unit vector (s, y, z) from the ground to the sun."""
        flat = math.cos(self.elevation)
        return (
            flat * math.sin(self.azimuth),
            math.sin(self.elevation),
            flat * math.cos(self.azimuth),
        )

    @property
    def sunshine(self) -> float:
        """Share of direct light: 1 throws hard shadows, 0 none."""
        hidden = max(self.cloud, min(1.0, self.fog * 40), self.darkness)
        return max(0.0, 1.0 - hidden)


def draw_condition(rng: np.random.Generator, mild: bool) -> Condition:
    """Draws the condition of a scene.

    Args:
        rng: source of every draw.
        mild: clear or overcast days of moderate strength with a well set camera, now and then a
            weak form of something else; otherwise the full variety at any strength.
    """
    if mild and not chance(rng, _MILD_EXCEPTIONS):
        kind, strength = pick(rng, MILD_KINDS), between(rng, 0.1, 0.6)
    elif mild:
        kind, strength = pick(rng, [k for k in FULL_KINDS if k != "night"]), between(rng, 0.1, 0.3)
    else:
        kind = str(rng.choice(list(FULL_KINDS), p=list(FULL_KINDS.values())))
        strength = between(rng, 0.2, 1.0)
    spread = 0.35 if mild else 1.0
    return Condition(
        kind=kind,
        strength=strength,
        azimuth=between(rng, -math.pi, math.pi),
        exposure=1.0 + spread * between(rng, -0.22, 0.22),
        warmth=spread * between(rng, -0.12, 0.12),
        saturation=1.0 + spread * between(rng, -0.4, 0.3),
        gamma=1.0 + spread * between(rng, -0.2, 0.25),
        **_weather(rng, kind, strength),
    )


def _weather(rng: np.random.Generator, kind: str, strength: float) -> dict[str, float]:
    """Draws the fields of a `Condition` that its kind decides."""
    fields = {
        "cloud": between(rng, 0.0, 0.35),
        "rain": 0.0,
        "wet": 0.0,
        "fog": between(rng, 0.0, 0.0015),
        "snow": 0.0,
        "darkness": 0.0,
        "low_sun": 0.0,
        "elevation": between(rng, 0.6, 1.2),
        "noise": between(rng, 0.004, 0.012),
    }
    if kind == "clear":
        fields["cloud"] = 0.45 * strength * between(rng, 0.0, 1.0)
    elif kind == "overcast":
        fields["cloud"] = 0.55 + 0.45 * strength
    elif kind == "rain":
        fields.update(cloud=0.7 + 0.3 * strength, rain=strength, wet=0.3 + 0.7 * strength)
        fields.update(fog=0.002 + 0.008 * strength, darkness=0.3 * strength * between(rng, 0, 1))
    elif kind == "fog":
        fields.update(cloud=0.8, fog=0.008 + 0.06 * strength**1.5)
    elif kind == "low_sun":
        fields.update(low_sun=strength, elevation=between(rng, 0.08, 0.3))
    elif kind == "night":
        fields.update(darkness=0.35 + 0.65 * strength, noise=0.012 + 0.03 * strength)
        fields.update(wet=between(rng, 0.3, 0.9) if chance(rng, 0.35) else 0.0)
    elif kind == "snow":
        fields.update(cloud=0.75, snow=strength, fog=0.002 + 0.012 * strength)
    return fields
