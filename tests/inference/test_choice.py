"""Coverage and greedy k-center against their definitions, and the choice among the doubtful."""

import numpy as np
import pytest

from c3tf.inference import choice

pytestmark = pytest.mark.smoke


def greedy(points, candidates, count, centers, score):
    """Each time takes the first candidate of the least score, the centers so far given."""
    centers, found = [list(c) for c in centers], []
    for _ in range(count):
        free = [index for index in candidates if index not in found]
        found.append(min(free, key=lambda index: score(index, tuple(centers))))
        centers.append(points[found[-1]])
    return found


def nearest(point, centers):
    return min((np.linalg.norm(np.subtract(point, c)) for c in centers), default=float("inf"))


def naive(points, count, centers):
    """Measures every point against every center, and takes the farthest."""

    def nearness(index, held):
        return -nearest(points[index], held)

    return greedy(points, range(len(points)), count, centers, nearness)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_centers", [0, 1, 5])
def test_k_center_is_the_farthest_of_the_nearest(seed, num_centers):
    rng = np.random.default_rng(seed)
    points, centers = rng.normal(size=(40, 3)), rng.normal(size=(num_centers, 3))
    found = choice.k_center(points, 12, centers)
    assert [one.index for one in found] == naive(points, 12, centers)
    distances = [one.distance for one in found]
    assert distances == sorted(distances, reverse=True)
    assert np.isinf(distances[0]) == (num_centers == 0)


def test_points_that_are_the_same_are_chosen_once_each():
    found = choice.k_center(np.zeros((4, 2)), 4, np.zeros((1, 2)))
    assert [one.index for one in found] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="at most 4"):
        choice.k_center(np.zeros((4, 2)), 5, [])


def naive_coverage(points, weights, candidates, count, centers):
    """Measures what every candidate would leave of all distances."""

    def left(index, held):
        near = [nearest(point, (*held, points[index])) for point in points]
        return round(float(np.dot(near, weights)), 9)

    return greedy(points, candidates, count, centers, left)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_centers", [0, 1, 5])
def test_coverage_leaves_the_least_distance(seed, num_centers):
    rng = np.random.default_rng(seed)
    points, centers = rng.normal(size=(30, 3)), rng.normal(size=(num_centers, 3))
    weights, candidates = rng.random(30), rng.permutation(30)[:14]
    found = choice.coverage(points, weights, candidates, 6, centers)
    assert [one.index for one in found] == naive_coverage(points, weights, candidates, 6, centers)
    assert np.isinf(found[0].distance) == (num_centers == 0)
    near = [np.linalg.norm(points[found[1].index] - c) for c in [*centers, points[found[0].index]]]
    assert found[1].distance == pytest.approx(min(near))


def test_coverage_passes_over_outliers_and_copies():
    rng = np.random.default_rng(0)
    groups = np.concatenate([rng.normal(center, 0.1, (20, 2)) for center in ([0, 0], [3, 0])])
    points = np.concatenate([groups, [[0, 9], [0.5, 9]], groups[:1]])
    labeled = groups[:1]
    found = choice.coverage(points, np.ones(43), np.arange(43), 1, labeled)
    assert 20 <= found[0].index < 40, "the group that nothing is labeled of"
    far = choice.k_center(points, 1, labeled)
    assert far[0].index == 41, "an outlier lies farther"
    # All are the same: the order of the candidates.
    same = choice.coverage(np.zeros((3, 2)), np.ones(3), np.array([2, 0, 1]), 3, labeled * 0)
    assert [one.index for one in same] == [2, 0, 1]
    copies = np.repeat(rng.normal(size=(1, 8)), 3, axis=0)
    same = choice.coverage(copies, np.ones(3), np.array([2, 0, 1]), 3, [])
    assert [one.index for one in same] == [2, 0, 1]
    # Nothing is doubtful but a copy of what is labeled.
    assert choice.coverage(points, np.eye(43)[42], np.arange(43), 1, labeled)[0].index == 0
    with pytest.raises(ValueError, match="at most 1"):
        choice.coverage(points, np.ones(43), np.arange(1), 2, [])


@pytest.mark.parametrize("way", choice.WAYS)
def test_candidates_are_the_most_doubtful(way):
    rng = np.random.default_rng(1)
    doubt, features = rng.permutation(40) / 39, rng.normal(size=(40, 4))
    chosen = choice.choose(doubt, features, 3, features[:2], way)
    assert all(doubt[one.index] >= np.sort(doubt)[-15] for one in chosen)
    assert len({one.index for one in chosen}) == 3


def test_only_the_doubtful_are_chosen_from():
    rng = np.random.default_rng(0)
    doubt, features = rng.permutation(100) / 99, rng.normal(size=(100, 4))
    chosen = choice.choose(doubt, features, 3, np.zeros((0, 4)), choice.K_CENTER)
    # Five for each, the most doubtful first, where nothing is labeled.
    assert all(doubt[one.index] >= np.sort(doubt)[-15] for one in chosen)
    assert doubt[chosen[0].index] == 1
    assert len({one.index for one in chosen}) == 3
    # Half of all at most, but as many as are asked for.
    few = choice.choose(doubt[:10], features[:10], 4, np.zeros((0, 4)))
    assert {one.index for one in few} <= set(np.argsort(-doubt[:10])[:5].tolist())
    assert len(choice.choose(doubt[:10], features[:10], 10, np.zeros((0, 4)))) == 10


def test_what_looks_like_a_labeled_photo_comes_last():
    features = np.array([[0.0, 0], [1, 0], [0, 1], [5, 5]])
    chosen = choice.choose(np.ones(4), features, 4, np.array([[5.0, 5.0]]), choice.K_CENTER)
    assert [one.index for one in chosen] == [0, 1, 2, 3]
    assert chosen[-1].distance == 0
