"""CVAT's XML for images: polygons, boxes, ellipses and masks, one file for all images."""

import collections
import math
from collections.abc import Iterator
from xml.etree import ElementTree

from c3tf.errors import UserError
from c3tf.io import files, json_files
from data_tools.annotations import runs
from data_tools.annotations.shapes import (
    AnnotationError,
    Bitmap,
    Drawing,
    Point,
    Polygon,
    Shape,
    ellipse,
    points_of,
    rectangle,
    size_of,
    turned,
)

_OPEN = ("points", "polyline", "skeleton", "cuboid", "tag")
# A number of pixels as text is no longer.
_MOST_DIGITS = 24


def read(path: str) -> Iterator[Drawing]:
    """Reads one drawing per image that has shapes; they are drawn by `z_order`, then as written.

    Raises:
        UserError: the file cannot be read.
        AnnotationError: it holds something else than the format's.
    """
    root = _root(path)
    if root.find("track") is not None:
        raise AnnotationError(
            f"{path} holds tracks, as CVAT exports a video. Export it as 'CVAT for images 1.1'."
        )
    for image in root.iter("image"):
        name = image.get("name", "")
        where = f"{path}, image {name!a}"
        if not name:
            raise AnnotationError(f"{path}: an image lacks its name.")
        size = size_of(_whole(image, "height", where), _whole(image, "width", where), where)
        shapes: list[tuple[int, Shape]] = []
        opened: collections.Counter[str] = collections.Counter()
        for place, element in enumerate(image):
            what = f"{where}, {element.tag} {place} ({element.get('label', '')})"
            if element.tag in _OPEN:
                opened[element.tag] += 1
                continue
            order = _as_whole(element.get("z_order", "0"), "z_order", what)
            shapes.append((order, _shape(element, what)))
        if shapes or opened:
            ordered = [shape for _, shape in sorted(shapes, key=lambda pair: pair[0])]
            # Projects hold tasks whose images may have the same names, in folders of their subsets.
            beside = f"{image.get('subset')}/{name}" if image.get("subset") else ""
            yield Drawing(name, path, size, ordered, opened, beside=beside)


def _root(path: str) -> ElementTree.Element:
    try:
        content = files.read_bytes(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(content) > json_files.MOST_BYTES:
        raise AnnotationError(f"{path} is longer than {json_files.MOST_BYTES} bytes.")
    try:
        # Of other encodings, which could hide a declaration from the search for it, CVAT has none.
        text = content.decode("utf-8-sig")
        # Entities can stand for other files and for more text than fits into memory.
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise AnnotationError(f"{path} declares entities, which CVAT's files do not.")
        root = ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError) as error:
        if isinstance(error, AnnotationError):
            raise
        raise AnnotationError(f"{path} is no XML file of CVAT's: {error}.") from error
    if root.tag != "annotations":
        raise AnnotationError(f"{path} is no XML file of CVAT's: it holds <{root.tag:.40}>.")
    return root


def _shape(element: ElementTree.Element, where: str) -> Shape:
    label = element.get("label", "")
    if element.tag == "polygon":
        points = [point.split(",") for point in element.get("points", "").split(";")]
        numbers = [_number(value, where) for point in points for value in point]
        outline = points_of(numbers, where)
        if any(len(point) != 2 for point in points):
            raise AnnotationError(f"{where}: every point must be two numbers, `x,y`.")
        return Polygon(label, outline)
    if element.tag in ("box", "ellipse"):
        return Polygon(label, _turnable(element, where))
    if element.tag == "mask":
        left, top = (_whole(element, name, where) for name in ("left", "top"))
        size = (_whole(element, name, where) for name in ("height", "width"))
        counts = [_as_whole(count, "rle", where) for count in element.get("rle", "").split(",")]
        pixels = runs.pixels_of_rows(counts, *size_of(*size, where), where)
        return Bitmap(label, pixels, left, top)
    raise AnnotationError(f"{where}: shapes of the kind {element.tag!a:.40} are not known.")


def _turnable(element: ElementTree.Element, where: str) -> list[Point]:
    """Returns the corners of a box or an ellipse, which may be turned around its center."""
    degrees = _number(element.get("rotation", "0"), where)
    if not math.isfinite(degrees):
        raise AnnotationError(f"{where}: `rotation` must be a finite number. Received: {degrees}")
    if element.tag == "box":
        left, top, right, bottom = _numbers(element, ("xtl", "ytl", "xbr", "ybr"), where)
        center = (left + right) / 2, (top + bottom) / 2
        return turned(rectangle(left, top, right, bottom), center, degrees)
    x, y, x_radius, y_radius = _numbers(element, ("cx", "cy", "rx", "ry"), where)
    return turned(ellipse(x, y, x_radius, y_radius), (x, y), degrees)


def _numbers(element: ElementTree.Element, names: tuple[str, ...], where: str) -> list[float]:
    numbers = [_number(element.get(name, ""), where) for name in names]
    points_of(numbers, where)
    return numbers


def _number(text: str, where: str) -> float:
    try:
        return float(text[:_MOST_DIGITS])
    except ValueError as error:
        raise AnnotationError(f"{where}: {text!a:.40} is no number.") from error


def _whole(element: ElementTree.Element, name: str, where: str) -> int:
    return _as_whole(element.get(name, ""), name, where)


def _as_whole(text: str, name: str, where: str) -> int:
    value = _number(text, where)
    if not value.is_integer():
        raise AnnotationError(f"{where}: `{name}` must be a whole number. Received: {text:.40}")
    return int(value)
