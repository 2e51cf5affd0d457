"""HTML elements as text, with everything escaped that is not HTML already."""

import html
from collections.abc import Sequence

# Elements that have no end.
_VOID = ("img", "meta")
# A page has no scripts and asks for nothing: its style and pictures are in it. Should text ever
# get past the escaping, a browser runs and fetches nothing of it.
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def join(parts: list[str]) -> Html:
    """Joins texts and elements; texts are escaped."""
    return Html("".join(part if isinstance(part, Html) else html.escape(part) for part in parts))


def element(name: str, attributes: dict[str, object], *children: str) -> Html:
    """Makes an element.

    Args:
        name: of the element.
        attributes: by name; one that is None is left out.
        *children: texts, which are escaped, and elements.

    Returns:
        The element.
    """
    held = "".join(
        f' {key}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{held}>")
    return Html(f"<{name}{held}>{join(list(children))}</{name}>")


def document(title: str, css: str, *body: str) -> str:
    """Makes a whole document that needs no other file.

    Args:
        title: of the document, and its first heading.
        css: its style sheet.
        *body: texts and elements below the heading.

    Returns:
        HTML.
    """
    head = [
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("title", {}, title),
        element("style", {}, Html(css)),
    ]
    body = element("body", {}, element("h1", {}, title), *body)
    page = element("html", {"lang": "en"}, element("head", {}, *head), body)
    return f"<!DOCTYPE html>\n{page}\n"


def table(head: list[str], rows: list[list[str]], css: str = "") -> Html:
    """Makes a table whose first column names its rows.

    Args:
        head: column titles.
        rows: cells; the first of each row is its title.
        css: class of the table.

    Returns:
        The element, in a box that scrolls when the page is narrow.
    """
    titles = [element("th", {"scope": "col"}, title) for title in head]
    lines = [
        element(
            "tr",
            {},
            element("th", {"scope": "row"}, row[0]),
            *(element("td", {}, cell) for cell in row[1:]),
        )
        for row in rows
    ]
    body = element("tbody", {}, *lines)
    held = element(
        "table", {"class": css or None}, element("thead", {}, element("tr", {}, *titles)), body
    )
    return element("div", {"class": "scroll"}, held)


def swatch(color: Sequence[int] | None) -> Html:
    """Makes a small square of an RGB colour, an empty one for None."""
    style = None if color is None else f"background:rgb{tuple(color)}"
    return element("span", {"class": "swatch", "style": style})


def bar(share: float, css: str) -> Html:
    """Makes a bar, filled up to a share (0 to 1) with a part of class `css`."""
    filled = element("i", {"class": css, "style": f"width:{100 * share:.1f}%"})
    return element("span", {"class": "bar", "aria-hidden": "true"}, filled)


def figure(caption: str, source: str) -> Html:
    """Makes a picture, whose address is `source`, with a caption below it."""
    image = element("img", {"loading": "lazy", "alt": "", "src": source})
    return element("figure", {}, image, element("figcaption", {}, caption))
