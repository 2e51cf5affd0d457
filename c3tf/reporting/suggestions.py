"""The page of photos to label next: each with what the network makes of it, and how it was chosen.

Pictures become parts of the page one by one, so that no more than one photo is in memory.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from c3tf.labels import LabelMap
from c3tf.reporting import page
from c3tf.reporting.html import Html, element, figure, join, table
from c3tf.reporting.images import data_url
from c3tf.reporting.sections import legend
from c3tf.visualization import drawing, heat

# What the parts of a photo's doubt are called.
PARTS = {
    "below_threshold": "pixels below their class's DCRS threshold",
    "disagreement": "pixels where student and teacher differ",
    "entropy": "entropy, of the largest there is",
}
_HEAT_OPACITY = 0.6


class Photo(NamedTuple):
    """A photo to label next.

    Attributes:
        name: as the list names it.
        image: `(H, W, 3)` uint8.
        class_map: `(H, W)` uint8, what the network predicts.
        entropy: `(H, W)`, 0 to 1.
        kept: `(H, W)` uint8, its pseudo-labels; None without thresholds.
        scores: its doubt and the parts of it, by name, 0 to 1.
    """

    name: str
    image: np.ndarray
    class_map: np.ndarray
    entropy: np.ndarray
    kept: np.ndarray | None
    scores: Mapping[str, float]


def render(
    photos: Iterable[Photo], label_map: LabelMap, facts: Mapping[str, str], about: str
) -> str:
    """Makes the page.

    Args:
        photos: in the order of their choice.
        label_map: the classes.
        facts: how they were chosen, for people.
        about: what the page is about, said below its title.

    Returns:
        A whole HTML document that needs no other file and no network.
    """
    head: list[str] = []
    rows: list[list[str]] = []
    parts: list[Html] = []
    for place, photo in enumerate(photos, start=1):
        rows.append([f"{place}. {photo.name}", *map(_share, photo.scores.values())])
        parts.append(element("h3", {}, rows[-1][0]))
        parts.append(_strip(photo, label_map))
        head = ["photo", *(PARTS.get(name, name) for name in photo.scores)]
    note = element(
        "p",
        {"class": "soft"},
        "Entropy is bright where the network's classes are equally likely, dark where it is sure "
        "of one. Confident pixels are those that training would learn from. A photo's doubt is its "
        "mean rank among all photos: 100 % is the most doubtful.",
    )
    made = [
        ("Photos to label next", join([note, legend(label_map), *parts])),
        ("Scores", table(head, rows)),
        ("How they were chosen", table(["", ""], [list(fact) for fact in facts.items()], "text")),
    ]
    return page.assemble(made, "What to label next", about)


def _strip(photo: Photo, label_map: LabelMap) -> Html:
    overlay = drawing.overlay(photo.image, photo.class_map, label_map)
    doubt = heat.heat_over(photo.image, photo.entropy, _HEAT_OPACITY)
    figures = [
        figure("photo", data_url(photo.image, "jpeg")),
        figure("prediction", data_url(overlay, "jpeg")),
        figure(f"entropy; doubt {_share(photo.scores['doubt'])}", data_url(doubt, "jpeg")),
    ]
    if photo.kept is not None:
        share = float(np.mean(photo.kept == photo.class_map))
        kept = data_url(drawing.colorize(photo.kept, label_map))
        figures.append(figure(f"confident pixels, {_share(share)}", kept))
    return element("div", {"class": "strip"}, *figures)


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
