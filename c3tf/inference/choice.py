"""The choice of photos that are doubtful and unlike each other: coverage, or greedy k-center."""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# How the candidates are chosen from, the default first.
COVERAGE, K_CENTER = "coverage", "k_center"
WAYS = (COVERAGE, K_CENTER)
# So many of the most doubtful photos, for each one to choose, are chosen from, but no more than
# this share of all.
_CANDIDATES, _LARGEST_SHARE = 5, 0.5


class Chosen(NamedTuple):
    """A photo that was chosen, and how far its features lay from all that were chosen before."""

    index: int
    distance: float


def choose(
    doubt: np.ndarray, features: np.ndarray, count: int, labeled: np.ndarray, way: str = COVERAGE
) -> list[Chosen]:
    """Chooses photos that are doubtful and unlike each other, and unlike what is labeled.

    Candidates are the most doubtful photos, five for each one to choose and half of all at most.
    Of these are taken, one by one,

        coverage   the one that brings the doubt of all photos nearest to a chosen or labeled one
                   (Wei, Iyer and Bilmes, ICML 2015): it stands for many doubtful photos
        k_center   the one that lies farthest from everything labeled and chosen (Sener and
                   Savarese, ICLR 2018); where nothing is labeled the most doubtful comes first

    Args:
        doubt: `(N,)`, 0 or more.
        features: `(N, D)`.
        count: how many; at most N.
        labeled: `(M, D)` features of labeled photos; M may be 0.
        way: one of `WAYS`.

    Returns:
        Positions of the photos in the order of their choice; equal ones by position.
    """
    candidates = max(count, min(_CANDIDATES * count, int(_LARGEST_SHARE * len(doubt))))
    order = np.argsort(-doubt, kind="stable")[:candidates]
    if way == COVERAGE:
        return coverage(features, doubt, order, count, labeled)
    found = k_center(features[order], count, labeled)
    return [Chosen(int(order[one.index]), one.distance) for one in found]


def coverage(
    points: np.ndarray,
    weights: np.ndarray,
    candidates: np.ndarray,
    count: int,
    centers: np.ndarray | Sequence,
) -> list[Chosen]:
    """Chooses points one by one, each the one that most lessens the weighted sum of distances.

    The distances are those of all points to their nearest center. A point apart from the others
    lessens its own alone, and one like a center nothing, so neither outliers nor the next frame of
    a video are chosen. What a point lessens only becomes less with further centers: it is computed
    again for the few that may be the best.

    Args:
        points: `(N, D)`.
        weights: `(N,)`, 0 or more.
        candidates: `(K,)` positions of those that may be chosen.
        count: how many, at most K.
        centers: `(M, D)` that are there from the start.

    Returns:
        Positions and distances (infinite for a first point without centers), in order; of equal
        ones the first candidate.
    """
    _check_count(count, len(candidates))
    points, weights = np.asarray(points, np.float64), np.asarray(weights, np.float64)
    nearest = _nearest(points, centers)
    squares = np.square(points).sum(-1)
    # Without a center all are as far as can be: the first is the one nearest to them all.
    bound = 2 * np.sqrt(squares.max())

    def distances(index: int) -> np.ndarray:
        # As a product, which is many times as fast as differences where there are thousands.
        found = squares + squares[index] - 2 * (points @ points[index])
        return np.sqrt(np.maximum(found, 0))

    def lessened(index: int) -> float:
        gains = np.minimum(nearest, bound) - distances(index)
        return float(weights @ np.maximum(gains, 0))

    waiting = [(-lessened(index), place) for place, index in enumerate(candidates.tolist())]
    heapq.heapify(waiting)
    found: list[Chosen] = []
    for _ in range(count):
        while True:
            _, place = heapq.heappop(waiting)
            index = int(candidates[place])
            now = (-lessened(index), place)
            if not waiting or now <= waiting[0]:
                break
            heapq.heappush(waiting, now)
        found.append(Chosen(index, float(nearest[index])))
        nearest = np.minimum(nearest, distances(index))
    return found


def k_center(points: np.ndarray, count: int, centers: np.ndarray | Sequence) -> list[Chosen]:
    """Chooses points one by one, each the farthest from its nearest center so far.

    Args:
        points: `(N, D)`.
        count: how many, at most N.
        centers: `(M, D)` that are there from the start; without any, point 0 is chosen first.

    Returns:
        Positions and distances (infinite for a first point without centers), in order.
    """
    _check_count(count, len(points))
    points = np.asarray(points, np.float64)
    nearest = _nearest(points, centers)
    found: list[Chosen] = []
    free = np.ones(len(points), bool)
    for _ in range(count):
        index = int(np.argmax(np.where(free, nearest, -1.0)))
        found.append(Chosen(index, float(nearest[index])))
        free[index] = False
        nearest = np.minimum(nearest, _distances(points, points[index]))
    return found


def _check_count(count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"`count` must be at most {most}. Received: count={count}")


def _nearest(points: np.ndarray, centers: np.ndarray | Sequence) -> np.ndarray:
    """Returns the distances of points `(N, D)` to their nearest center; infinite without any."""
    nearest = np.full(len(points), np.inf)
    for center in centers:
        nearest = np.minimum(nearest, _distances(points, center))
    return nearest


def _distances(points: np.ndarray, center: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(points - np.asarray(center, np.float64)).sum(-1))
