"""The choice of photos that are doubtful and unlike each other: greedy k-center."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# So many of the most doubtful photos, for each one to choose, are chosen from, but no more than
# this share of all.
_CANDIDATES, _LARGEST_SHARE = 5, 0.5


class Chosen(NamedTuple):
    """A photo that was chosen, and how far its features lay from all that were chosen before."""

    index: int
    distance: float


def choose(
    doubt: np.ndarray, features: np.ndarray, count: int, labeled: np.ndarray
) -> list[Chosen]:
    """Chooses photos that are doubtful and unlike each other, and unlike what is labeled.

    Candidates are the most doubtful photos, five for each one to choose and half of all at most.
    Of these the one that lies farthest from everything labeled and chosen is taken, again and again
    (Sener and Savarese, ICLR 2018); where nothing is labeled the most doubtful one comes first.

    Args:
        doubt: `(N,)`.
        features: `(N, D)`.
        count: how many; at most N.
        labeled: `(M, D)` features of labeled photos; M may be 0.

    Returns:
        Positions of the photos in the order of their choice; equal ones by position.
    """
    candidates = max(count, min(_CANDIDATES * count, int(_LARGEST_SHARE * len(doubt))))
    order = np.argsort(-doubt, kind="stable")[:candidates]
    found = k_center(features[order], count, labeled)
    return [Chosen(int(order[one.index]), one.distance) for one in found]


def k_center(points: np.ndarray, count: int, centers: np.ndarray | Sequence) -> list[Chosen]:
    """Chooses points one by one, each the farthest from its nearest center so far.

    Args:
        points: `(N, D)`.
        count: how many, at most N.
        centers: `(M, D)` that are there from the start; without any, point 0 is chosen first.

    Returns:
        Positions and distances (infinite for a first point without centers), in order.
    """
    if count > len(points):
        raise ValueError(f"`count` must be at most {len(points)}. Received: count={count}")
    points = np.asarray(points, np.float64)
    nearest = np.full(len(points), np.inf)
    for center in centers:
        nearest = np.minimum(nearest, _distances(points, center))
    found: list[Chosen] = []
    free = np.ones(len(points), bool)
    for _ in range(count):
        index = int(np.argmax(np.where(free, nearest, -1.0)))
        found.append(Chosen(index, float(nearest[index])))
        free[index] = False
        nearest = np.minimum(nearest, _distances(points, points[index]))
    return found


def _distances(points: np.ndarray, center: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(points - np.asarray(center, np.float64)).sum(-1))
