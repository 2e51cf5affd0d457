"""One self-contained HTML page, about one or several runs or whatever else has sections."""

from collections.abc import Mapping, Sequence

from c3tf.evaluation.result import EvaluationResult
from c3tf.reporting import robustness, sections
from c3tf.reporting.html import Html, document, element
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


def render(
    runs: Sequence[RunData], title: str, measured: Mapping[str, EvaluationResult] | None = None
) -> str:
    """Makes the page.

    Args:
        runs: what to report on, in this order.
        title: of the page.
        measured: results of `c3tf.evaluate` by name, shown beside each other.

    Returns:
        A whole HTML document that needs no other file and no network.
    """
    made = [
        (heading, make(runs))
        for heading, make in _SECTIONS
        if runs and (len(runs) > 1 or make is not sections.differences)
    ]
    made += robustness.sections(measured or {})
    return assemble(made, title, ", ".join([*(run.name for run in runs), *(measured or {})]))


def assemble(made: Sequence[tuple[str, Html]], title: str, about: str) -> str:
    """Makes a page of sections.

    Args:
        made: headings and what stands below them.
        title: of the page.
        about: what the page is about, said below its title.

    Returns:
        A whole HTML document that needs no other file and no network.
    """
    links, body = [], []
    for place, (heading, held) in enumerate(made):
        anchor = f"part-{place}"
        links.append(element("li", {}, element("a", {"href": f"#{anchor}"}, heading)))
        body.append(element("section", {"id": anchor}, element("h2", {}, heading), held))
    said = element("p", {"class": "soft"}, f"{about}; made by c3tf {VERSION}")
    nav = element("nav", {"aria-label": "Sections"}, element("ul", {}, *links))
    return document(title, CSS, said, nav, element("main", {}, *body))
