"""One self-contained HTML page about one or several runs."""

from collections.abc import Sequence

from c3tf.reporting import sections
from c3tf.reporting.html import document, element
from c3tf.reporting.runs import RunData
from c3tf.reporting.style import CSS
from c3tf.versions import VERSION

_SECTIONS = (
    ("Overview", sections.overview),
    ("Curves", sections.curves),
    ("IoU per class", sections.classes),
    ("Confusion matrices", sections.confusions),
    ("Classes over time", sections.class_statistics),
    ("Examples", sections.examples),
    ("Differences between the runs", sections.differences),
    ("Configuration", sections.configurations),
    ("Journal", sections.events),
)


def render(runs: Sequence[RunData], title: str) -> str:
    """Makes the page.

    Args:
        runs: what to report on, in this order.
        title: of the page.

    Returns:
        A whole HTML document that needs no other file and no network.
    """
    made = [
        (f"part-{place}", heading, make(runs))
        for place, (heading, make) in enumerate(_SECTIONS)
        if len(runs) > 1 or make is not sections.differences
    ]
    links = [
        element("li", {}, element("a", {"href": f"#{anchor}"}, heading))
        for anchor, heading, _ in made
    ]
    body = [
        element("section", {"id": anchor}, element("h2", {}, heading), held)
        for anchor, heading, held in made
    ]
    names = ", ".join(run.name for run in runs)
    said = element("p", {"class": "soft"}, f"{names}; made by c3tf {VERSION}")
    nav = element("nav", {"aria-label": "Sections"}, element("ul", {}, *links))
    return document(title, CSS, said, nav, element("main", {}, *body))
