"""The street's cross-section: lanes, parking, verges, sidewalks, and what lies beyond them."""

import dataclasses

import numpy as np

from data_tools.street_scenes.draws import between, chance, pick

# Characters of a district and their shares.
DISTRICTS = ("downtown", "residential", "suburb", "industrial", "avenue", "outskirts")
# Ground kinds; `ground.py` gives each its class and its look.
ROAD, KERB, SIDEWALK, TERRAIN, YARD = range(5)


@dataclasses.dataclass(frozen=True)
class Side:
    """One side of the street; `sign` is -1 on the left. Offsets are distances from `s = 0`.

    Attributes:
        sign: direction of this side.
        road: where the carriageway ends.
        parking: width of the parking strip inside the carriageway, 0 for none.
        walk: inner edge of the sidewalk.
        outer: outer edge of the sidewalk.
        front: line on which buildings, walls and fences stand.
    """

    sign: int
    road: float
    parking: float
    walk: float
    outer: float
    front: float

    def at(self, offset: float) -> float:
        """Returns `s` of a distance from the middle on this side."""
        return self.sign * offset


@dataclasses.dataclass(frozen=True)
class Street:
    """The plan of one street.

    Attributes:
        district: one of `DISTRICTS`.
        left, right: the two sides.
        lanes: `s` of lane centres, ours first.
        oncoming: per lane, whether traffic comes towards the camera.
        marks: `s` of lines between lanes, with whether they are dashed.
        crossing: (near, far) distance of a cross street, or None.
        zebra: (near, far) distance of a pedestrian crossing, or None.
        rails: `s` of the centres of tram tracks.
        beyond: ground kind beyond the sidewalks, left and right.
    """

    district: str
    left: Side
    right: Side
    lanes: tuple[float, ...]
    oncoming: tuple[bool, ...]
    marks: tuple[tuple[float, bool], ...]
    crossing: tuple[float, float] | None
    zebra: tuple[float, float] | None
    rails: tuple[float, ...]
    beyond: tuple[int, int]

    def bands(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns ascending edges in `s` and the ground kinds between them, one more."""
        edges, kinds = [], [self.beyond[0]]
        for side, outwards in ((self.left, False), (self.right, True)):
            # From the road outwards: road | kerb | verge | sidewalk | beyond.
            offsets = [side.road, side.road + 0.2, side.walk, side.outer]
            names = [KERB, TERRAIN, SIDEWALK]
            if outwards:
                edges += [side.at(o) for o in offsets]
                kinds += [*names, self.beyond[1]]
            else:
                edges += [side.at(o) for o in reversed(offsets)]
                kinds += [*reversed(names), ROAD]
        return np.asarray(edges), np.asarray(kinds)


def draw_street(rng: np.random.Generator, features: frozenset[str]) -> Street:
    """Draws the plan of a street that can hold the scene's featured things."""
    district = pick(rng, DISTRICTS)
    lane = between(rng, 2.9, 3.6)
    ours = 2 if chance(rng, 0.35) else 1
    theirs = pick(rng, (0, 1, 1, 1, 2))
    if "train" in features:
        theirs = max(theirs, 1)
    # The camera drives in the rightmost or the second lane, a little off its centre.
    wander = between(rng, -0.35, 0.35)
    own = int(rng.integers(ours))
    centers = [wander + lane * (i - own) for i in range(-theirs, ours)]
    lanes = centers[theirs:] + centers[:theirs]
    edge_left, edge_right = centers[0] - lane / 2, centers[-1] + lane / 2
    marks = tuple(
        (centers[i] + lane / 2, i != theirs - 1 or chance(rng, 0.5))
        for i in range(len(centers) - 1)
    )
    left = _draw_side(rng, -1, -edge_left, district, features)
    right = _draw_side(rng, 1, edge_right, district, features)
    crossing = None
    if chance(rng, 0.35):
        near = between(rng, 14.0, 40.0)
        crossing = (near, near + between(rng, 7.0, 13.0))
    zebra = None
    if chance(rng, 0.4):
        near = crossing[0] - between(rng, 4.0, 6.0) if crossing else between(rng, 8.0, 30.0)
        zebra = (near, near + between(rng, 2.5, 4.0))
    rails = (lanes[ours],) if "train" in features else ()
    green = {"downtown": 0.15, "industrial": 0.35, "outskirts": 0.95}.get(district, 0.6)
    beyond = tuple(TERRAIN if chance(rng, green) else pick(rng, (SIDEWALK, YARD)) for _ in "lr")
    return Street(
        district=district,
        left=left,
        right=right,
        lanes=tuple(lanes),
        oncoming=(False,) * ours + (True,) * theirs,
        marks=marks,
        crossing=crossing,
        zebra=zebra,
        rails=rails,
        beyond=beyond,
    )


def _draw_side(
    rng: np.random.Generator, sign: int, lanes_end: float, district: str, features: frozenset[str]
) -> Side:
    """Draws the widths of one side, from the last lane outwards."""
    # Parked cars hide what a scene is to show beyond them.
    open_view = not features.isdisjoint(("wall", "fence"))
    parking = between(rng, 2.1, 2.5) if chance(rng, 0.3 if open_view else 0.6) else 0.0
    road = lanes_end + (parking or between(rng, 0.2, 0.7))
    verge_share = 0.85 if "terrain" in features else 0.12
    verge = between(rng, 0.8, 3.0) if chance(rng, verge_share) else 0.0
    walk = road + 0.2 + verge
    wide = district in ("downtown", "avenue")
    outer = walk + (between(rng, 3.0, 6.0) if wide else between(rng, 1.8, 3.8))
    setback = 0.0 if district == "downtown" or open_view else between(rng, 0.0, 5.0)
    return Side(sign, road, parking, walk, outer, outer + setback)
