"""HTML elements as text, with everything escaped that is not HTML already."""

import html


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
    return Html(f"<{name}{held}>{join(list(children))}</{name}>")


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
