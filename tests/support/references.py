"""NumPy references of the method, in float64, written from the equations with explicit loops.

Nothing here is shared with the code under test. Where a case has a closed gradient it is written
out as well, so that neither value nor gradient is checked against automatic differentiation only.
"""

import math

import numpy as np

from c3tf.labels import IGNORE


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax along the last axis."""
    exponent = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponent / exponent.sum(axis=-1, keepdims=True)


def cross_entropy(target: np.ndarray, logits: np.ndarray) -> float:
    """-target^T log(softmax(logits)) of one pixel."""
    largest = logits.max()
    log_sum = largest + math.log(sum(math.exp(value - largest) for value in logits))
    return -sum(t * (value - log_sum) for t, value in zip(target, logits, strict=True))


def one_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Targets of Eq. 1; a row of zeros where there is no label."""
    targets = np.zeros((*labels.shape, num_classes))
    for place in np.ndindex(*labels.shape):
        if labels[place] != IGNORE:
            targets[(*place, labels[place])] = 1
    return targets


def masked_cross_entropy(
    targets: np.ndarray,
    logits: np.ndarray,
    valid: np.ndarray,
    averaging: str = "image",
    group_size: int = 1,
) -> tuple[float, np.ndarray]:
    """Eq. 1 and Eq. 2: the mean over valid pixels, with its gradient for the logits.

    `averaging="image"`: over each image's valid pixels and then over images; `"group"`: over those
    of every `group_size` images, then over groups; `"batch"`: over all valid pixels together.
    """
    num_images, height, width, _ = logits.shape
    size = {"image": 1, "group": group_size, "batch": num_images}[averaging]
    probabilities = softmax(logits)
    total, gradient = 0.0, np.zeros(logits.shape)
    for b in range(num_images):
        first = b - b % size
        own = max(int(valid[first : first + size].sum()), 1)
        weight = size / (own * num_images)
        for y in range(height):
            for x in range(width):
                if valid[b, y, x]:
                    target = targets[b, y, x]
                    total += weight * cross_entropy(target, logits[b, y, x])
                    gradient[b, y, x] = weight * (target.sum() * probabilities[b, y, x] - target)
    return total, gradient


def supervised_loss(
    labels: np.ndarray, logits: np.ndarray, averaging: str = "image", group_size: int = 1
) -> tuple[float, np.ndarray]:
    """Eq. 1 and its gradient."""
    targets = one_hot(labels, logits.shape[-1])
    return masked_cross_entropy(targets, logits, labels != IGNORE, averaging, group_size)


def class_threshold(confidences: np.ndarray, ratio: float) -> float:
    """delta of Eq. 6: the element that closes the best share `ratio` of one class."""
    descending = sorted(confidences.tolist(), reverse=True)
    return descending[int(ratio * len(descending))]


def update_thresholds(
    thresholds: np.ndarray,
    probabilities: np.ndarray,
    valid: np.ndarray,
    ratio: float,
    decay: float,
) -> np.ndarray:
    """Eq. 6; classes that are predicted nowhere keep their threshold."""
    confidence, predicted = probabilities.max(axis=-1), probabilities.argmax(axis=-1)
    result = np.array(thresholds, np.float64)
    for c in range(len(thresholds)):
        own = confidence[valid & (predicted == c)]
        if own.size:
            result[c] = decay * thresholds[c] + (1 - decay) * class_threshold(own, ratio)
    return result


def confident_region(
    thresholds: np.ndarray, probabilities: np.ndarray, valid: np.ndarray
) -> np.ndarray:
    """Section 3.4: pixels whose confidence reaches their predicted class's threshold."""
    region = np.zeros(valid.shape, bool)
    for place in np.ndindex(*valid.shape):
        own = probabilities[place]
        region[place] = valid[place] and own.max() >= thresholds[own.argmax()]
    return region


def unit_norm(vectors: np.ndarray) -> np.ndarray:
    """Vectors along the last axis at length 1."""
    # A zero vector, as a dead ReLU gives, stays zero.
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def contrastive_loss(
    anchors: np.ndarray,
    anchor_classes: np.ndarray,
    keys: np.ndarray,
    key_classes: np.ndarray,
    temperature: float,
    same_pixel: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The bracket of Eq. 5 for every anchor, with its gradient for that anchor.

    Vectors are taken as they are. `same_pixel[i, j]`: key j is left out of anchor i's positives.
    """
    losses, gradients = np.zeros(len(anchors)), np.zeros(anchors.shape)
    for i, anchor in enumerate(anchors):
        positives = [
            j
            for j in range(len(keys))
            if key_classes[j] == anchor_classes[i]
            and not (same_pixel is not None and same_pixel[i, j])
        ]
        negatives = np.flatnonzero(key_classes != anchor_classes[i])
        exp_negative = np.exp(keys[negatives] @ anchor / temperature)
        for j in positives:
            exp_positive = math.exp(keys[j] @ anchor / temperature)
            total = exp_positive + exp_negative.sum()
            losses[i] -= math.log(exp_positive / total) / len(positives)
            pull = (exp_positive / total - 1) * keys[j]
            push = exp_negative @ keys[negatives] / total
            gradients[i] += (pull + push) / temperature / len(positives)
    return losses, gradients


def through_unit_norm(vectors: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """The gradient for `vectors` of something whose gradient for `unit_norm(vectors)` is given."""
    unit = unit_norm(vectors)
    along = (unit * gradients).sum(axis=-1, keepdims=True)
    return (gradients - along * unit) / np.linalg.norm(vectors, axis=-1, keepdims=True)


def sample(
    labels: np.ndarray,
    hard: np.ndarray,
    priority: np.ndarray,
    num_classes: int,
    count: int,
    min_pixels: int = 1,
    fill_up: bool = True,
) -> dict[tuple[int, int], tuple[list[int], list[int]]]:
    """Section 3.3: `{(image, class): (hard pixels, easy pixels)}`, in order of priority.

    Half of the `count` samples are hard; where one kind is short, the other may fill up.
    """
    drawn = {}
    for b in range(len(labels)):
        for c in range(num_classes):
            pixels = sorted(np.flatnonzero(labels[b] == c).tolist(), key=lambda n: priority[b, n])
            if not pixels or len(pixels) < min_pixels:
                continue
            hards = [n for n in pixels if hard[b, n]]
            easies = [n for n in pixels if not hard[b, n]]
            num_hard = num_easy = 0
            while num_hard + num_easy < min(count, len(pixels)):
                want_hard = num_hard < count // 2 or num_easy == len(easies)
                if want_hard and num_hard < len(hards):
                    num_hard += 1
                elif num_easy < len(easies):
                    num_easy += 1
                else:
                    num_hard += 1
            if not fill_up:
                num_hard = min(num_hard, count // 2)
                num_easy = min(num_easy, count - count // 2)
            if num_hard + num_easy:
                drawn[b, c] = hards[:num_hard], easies[:num_easy]
    return drawn


def mix_pair(first: np.ndarray, second: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Eq. 4: m * first + (1 - m) * second, m being 0 inside the box."""
    top, left, height, width = box
    mask = np.ones(first.shape[:2])
    for y in range(first.shape[0]):
        for x in range(first.shape[1]):
            if top <= y < top + height and left <= x < left + width:
                mask[y, x] = 0
    return mask[..., None] * first + (1 - mask[..., None]) * second


def mix_groups(
    labeled: np.ndarray, unlabeled: np.ndarray, order: np.ndarray, boxes: np.ndarray
) -> np.ndarray:
    """Eq. 4 over a batch: in every group, place i with place g + i, and the complements."""
    mixed = []
    size = boxes.shape[1]
    for group in range(len(order)):
        own = slice(group * size, (group + 1) * size)
        images = [*labeled[own], *unlabeled[own]]
        placed = [images[i] for i in order[group]]
        pairs = list(zip(placed[:size], placed[size:], boxes[group], strict=True))
        mixed += [mix_pair(first, second, box) for first, second, box in pairs]
        mixed += [mix_pair(second, first, box) for first, second, box in pairs]
    return np.stack(mixed)


def sources(order: np.ndarray, boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Where each mixed pixel comes from: `(2 B, H, W)`, labeled images 0.., unlabeled ones B.."""
    number = boxes.shape[0] * boxes.shape[1]
    images = np.broadcast_to(
        np.arange(2 * number)[:, None, None, None], (2 * number, height, width, 1)
    ).astype(float)
    return mix_groups(images[:number], images[number:], order, boxes)[..., 0].astype(int)


def take_apart(mixed: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Puts the pixels of mixed maps back where they came from, given `sources`."""
    result = np.full(mixed.shape, np.nan)
    for b, y, x in np.ndindex(*source.shape):
        result[source[b, y, x], y, x] = mixed[b, y, x]
    return result


def resize_bilinear(
    image: np.ndarray, height: int, width: int, align_corners: bool = False
) -> np.ndarray:
    """Bilinear resizing, pixel centres at half coordinates or corners on corners; `(H, W, C)`."""

    def neighbours(place: int, size: int, new_size: int) -> tuple[int, int, float]:
        if align_corners:
            position = place * (size - 1) / (new_size - 1)
            low = min(math.floor(position), size - 1)
            return low, min(low + 1, size - 1), position - low
        position = min(max((place + 0.5) * size / new_size - 0.5, 0), size - 1)
        low = math.floor(position)
        return low, min(low + 1, size - 1), position - low

    result = np.zeros((height, width, image.shape[2]))
    for y in range(height):
        top, bottom, down = neighbours(y, image.shape[0], height)
        for x in range(width):
            left, right, along = neighbours(x, image.shape[1], width)
            upper = (1 - along) * image[top, left] + along * image[top, right]
            lower = (1 - along) * image[bottom, left] + along * image[bottom, right]
            result[y, x] = (1 - down) * upper + down * lower
    return result


def feature_places(features: int, pixels: int, align_corners: bool = False) -> list[int]:
    """The pixels that features lie on, to the nearest one (of two, the later)."""
    if align_corners:
        return [math.floor(i * (pixels - 1) / (features - 1) + 0.5) for i in range(features)]
    return [math.floor((i + 0.5) * pixels / features) for i in range(features)]


def sigmoid_ramp(step: int, length: int) -> float:
    """Section 4.1: exp(-5 (1 - step / length)^2)."""
    if step >= length:
        return 1.0
    return math.exp(-5 * (1 - max(step, 0) / length) ** 2)


def polynomial_rate(base: float, step: int, steps: int, power: float = 0.9) -> float:
    """Section 4.1: base (1 - step / steps)^power."""
    return base * (1 - step / steps) ** power


class Adam:
    """Adam of Kingma and Ba for one array, as their Algorithm 1 has it."""

    def __init__(self, value: np.ndarray, epsilon: float) -> None:
        self.value = np.array(value, np.float64)
        self.first = np.zeros(self.value.shape)
        self.second = np.zeros(self.value.shape)
        self.steps, self.epsilon = 0, epsilon

    def step(self, gradient: np.ndarray, rate: float) -> None:
        self.steps += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        corrected = rate * math.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
        self.value -= corrected * self.first / (np.sqrt(self.second) + self.epsilon)
