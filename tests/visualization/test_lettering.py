"""Letters outside Latin on sheets: in a font that has them, or as codes, never as boxes."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from c3tf.labels import LabelMap
from c3tf.visualization import drawing, lettering

pytestmark = pytest.mark.smoke

INK = (0, 0, 0)


@pytest.fixture(autouse=True)
def fresh():
    yield
    lettering._legible.cache_clear()
    lettering._of_the_system.cache_clear()


@pytest.fixture
def no_fonts(monkeypatch):
    lettering._legible.cache_clear()
    monkeypatch.setattr(lettering, "_FONTS", ())


def written(text, room=300):
    image = Image.new("RGB", (310, 24), "white")
    lettering.write(ImageDraw.Draw(image), (2, 2), text, room, INK)
    return np.asarray(image)


def test_latin_letters_are_written_as_ever():
    image = Image.new("RGB", (310, 24), "white")
    font = ImageFont.load_default(size=lettering.FONT_SIZE)
    ImageDraw.Draw(image).text((2, 2), "road 1", fill=INK, font=font)
    np.testing.assert_array_equal(written("road 1"), image)
    assert lettering.width("road 1") == int(font.getlength("road 1")) + 1


def test_letters_that_no_font_has_are_written_as_codes(no_fonts):
    np.testing.assert_array_equal(written("道 1"), written(r"\u9053 1"))
    assert (written("道") != written("路")).any()
    assert lettering.width("道") == lettering.width(r"\u9053")
    assert (written("道路" * 20, room=60)[:, 64:] == 255).all()


def test_a_font_of_the_system_is_taken_if_it_has_all_letters(monkeypatch):
    if lettering._of_the_system("DejaVuSans.ttf") is None:
        pytest.skip("no font with Cyrillic letters here")
    monkeypatch.setattr(lettering, "_FONTS", ("none.ttf", "DejaVuSans.ttf"))
    shown, font = lettering._legible("дорога")
    assert (shown, font.getname()[0]) == ("дорога", "DejaVu Sans")
    # It has no Chinese letters.
    assert lettering._legible("д道")[0].endswith(r"\u9053")


@pytest.mark.parametrize("with_fonts", [True, False])
def test_two_classes_of_a_legend_differ(with_fonts, request):
    if not with_fonts:
        request.getfixturevalue("no_fonts")
    legends = [
        np.asarray(drawing.legend(LabelMap("x", names, ((1, 2, 3), (4, 5, 6)), (0, 1)), 400))
        for names in (("道路", "天空"), ("天空", "道路"))
    ]
    assert legends[0].shape != legends[1].shape or (legends[0] != legends[1]).any()
