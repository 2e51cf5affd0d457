"""The method in PyTorch, for `train_step`: mixing, thresholds and losses without slow loops."""

import torch
from torch.nn import functional

IGNORE = 255
BINS = 8192
RATIO, THRESHOLD_DECAY = 0.8, 0.9
SAMPLES, TEMPERATURE = 20, 0.15

# For each mixed image: who is outside of the rectangle, who inside, and the rectangle.
Places = list[tuple[int, int, tuple[slice, slice]]]


def mix_places(order: torch.Tensor, boxes: torch.Tensor) -> Places:
    """Lays out one mix group.

    Args:
        order: `(B, 2)`, unfolded a permutation of the labeled and then the unlabeled images.
        boxes: `(B, 4)` top, left, height, width.

    Returns:
        The parts of each of the `2 B` mixed images.
    """
    images, half = order.flatten().tolist(), len(order)
    places = []
    for place, image in enumerate(images):
        top, left, height, width = boxes[place % half].tolist()
        partner = images[(place + half) % len(images)]
        box = slice(top, top + height), slice(left, left + width)
        places.append((image, partner, box))
    return places


def mix(images: torch.Tensor, places: Places) -> torch.Tensor:
    """Mixes `(2 B, H, W, K)` images."""
    mixed = images[[place[0] for place in places]]
    for target, (_, partner, box) in zip(mixed, places, strict=True):
        target[box] = images[partner][box]
    return mixed


def unmix(mixed: torch.Tensor, places: Places, channels_first: bool = False) -> torch.Tensor:
    """Puts what belongs to each image together again, labeled and then unlabeled."""
    row = {place[0]: index for index, place in enumerate(places)}
    apart = mixed[[row[image] for image in range(len(places))]]
    for image, partner, box in places:
        box = (slice(None), *box) if channels_first else box
        apart[(image, *box)] = mixed[(row[partner], *box)]
    return apart


def targets(
    logits: torch.Tensor, size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Computes the teacher's probabilities at full size, the largest of them and its class."""
    full = functional.interpolate(logits, size, mode="bilinear", align_corners=False)
    probabilities = full.softmax(1)
    return (probabilities, *probabilities.max(1))


def update_thresholds(
    thresholds: torch.Tensor,
    certainty: torch.Tensor,
    predicted: torch.Tensor,
    valid: torch.Tensor,
) -> torch.Tensor:
    """Moves the class thresholds (Eq. 6), found from counts in bins."""
    level = (certainty * BINS).long().clamp_(0, BINS - 1)
    cells = (predicted * BINS + level)[valid]
    counts = torch.bincount(cells, minlength=len(thresholds) * BINS).reshape(-1, BINS)
    from_top = counts.flip(1).cumsum(1).flip(1)
    position = (from_top[:, :1].double() * RATIO).long()
    current = ((from_top > position).sum(1) - 1).clamp_(min=0).float() / BINS
    moved = THRESHOLD_DECAY * thresholds + (1 - THRESHOLD_DECAY) * current
    return torch.where(from_top[:, 0] > 0, moved, thresholds)


def dense_losses(
    logits_x: torch.Tensor,
    logits_u: torch.Tensor,
    labels: torch.Tensor,
    probabilities: torch.Tensor,
    confident: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes Eq. 1 and Eq. 2, each image averaged by itself."""
    supervised = functional.cross_entropy(
        logits_x, labels.long(), ignore_index=IGNORE, reduction="none"
    )
    consistency = functional.cross_entropy(logits_u, probabilities, reduction="none")
    valid = labels != IGNORE
    return _mean(supervised, valid), _mean(consistency, confident)


def _mean(loss: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    sums = torch.where(valid, loss, 0.0).sum((1, 2))
    return (sums / valid.sum((1, 2)).clamp(min=1)).mean()


def contrast(
    logits: torch.Tensor,
    embedding: torch.Tensor,
    keys: torch.Tensor,
    places: Places,
    labels: torch.Tensor,
    teacher_class: torch.Tensor,
    confident: torch.Tensor,
) -> torch.Tensor:
    """Computes Eq. 5 over sampled pixels of the feature grid, half of each class' hard."""
    images, channels, rows, columns = embedding.shape
    scale = labels.shape[1] // rows, labels.shape[2] // columns
    grid = (
        torch.div((2 * torch.arange(rows) + 1) * labels.shape[1], 2 * rows, rounding_mode="floor"),
        torch.div(
            (2 * torch.arange(columns) + 1) * labels.shape[2], 2 * columns, rounding_mode="floor"
        ),
    )

    def on_grid(x: torch.Tensor) -> torch.Tensor:
        return x[:, grid[0]][:, :, grid[1]]

    coarse = [
        (
            image,
            partner,
            tuple(
                slice(-(-b.start // s), -(-b.stop // s)) for b, s in zip(box, scale, strict=True)
            ),
        )
        for image, partner, box in places
    ]
    classes = torch.cat(
        [
            on_grid(labels).long(),
            torch.where(on_grid(confident), on_grid(teacher_class), IGNORE),
        ]
    ).flatten(1)
    truth = torch.cat([on_grid(labels).long(), on_grid(teacher_class)]).flatten(1)
    said = unmix(logits.argmax(1), coarse).flatten(1)
    number = torch.arange(images * rows * columns).reshape(images, rows, columns)
    place = unmix(number, coarse).flatten(1)
    chosen, image = _sample(classes, said != truth, logits.shape[1])
    anchor_class = classes[image, chosen]
    pixels = embedding.permute(0, 2, 3, 1).reshape(-1, channels)
    key_pixels = keys.permute(0, 2, 3, 1).reshape(-1, channels)
    anchors = functional.normalize(pixels[place[image, chosen]], dim=1)
    others = functional.normalize(key_pixels[image * rows * columns + chosen], dim=1)
    similarity = anchors @ others.T / TEMPERATURE
    positive = anchor_class[:, None] == anchor_class[None]
    negatives = similarity.masked_fill(positive, -1e9).logsumexp(1, keepdim=True)
    loss = functional.softplus(negatives - similarity).masked_fill(~positive, 0.0)
    return (loss.sum(1) / positive.sum(1)).mean()


def _sample(
    classes: torch.Tensor, hard: torch.Tensor, num_classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws up to `SAMPLES` pixels of each class and image; one sort per image."""
    kind = torch.where(classes == IGNORE, 2 * num_classes, 2 * classes + (~hard).long())
    order = (kind + torch.rand(classes.shape)).argsort(1)
    counts = torch.zeros(len(classes), 2 * num_classes + 1, dtype=torch.long)
    counts = counts.scatter_add_(1, kind, torch.ones_like(kind))[:, :-1]
    starts = (counts.cumsum(1) - counts).reshape(-1, num_classes, 2)
    num_hard, num_easy = counts.reshape(-1, num_classes, 2).unbind(2)
    take_hard = torch.minimum(num_hard, (SAMPLES - num_easy).clamp(min=SAMPLES // 2))
    take_easy = torch.minimum(num_easy, SAMPLES - take_hard)
    place = torch.arange(SAMPLES)
    is_hard = place < take_hard[..., None]
    position = torch.where(
        is_hard, starts[..., :1] + place, starts[..., 1:] + place - take_hard[..., None]
    )
    taken = place < (take_hard + take_easy)[..., None]
    image = torch.arange(len(classes))[:, None, None].expand(position.shape)[taken]
    return order[image, position[taken]], image
