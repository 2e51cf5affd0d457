"""The models that come with the examples: small, whole, and what their cards say."""

import json
import re

import numpy as np
import pytest

import c3tf
from c3tf.labels import CAMVID

MODELS = ("camvid_46_baseline", "camvid_46_c3")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_whole_small_and_predicts(repository, name):
    folder = repository / "examples" / "models" / name
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    assert sum(sizes) < 2.5e6
    # Opening it compares every file with its checksum.
    model = c3tf.load(folder)
    assert model.label_map == CAMVID
    image = np.random.default_rng(0).integers(0, 256, (48, 70, 3)).astype(np.uint8)
    assert model.predict(image).shape == (48, 70)
    probabilities = model.predict(image, probabilities=True)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


def test_the_readme_says_what_was_measured_of_them(repository):
    text = (repository / "examples" / "models" / "README.md").read_text()
    shown = dict(re.findall(r"`(camvid_46_\w+)` \|.*\| (\d\d\.\d\d)%", text))
    for name in MODELS:
        card = json.loads((repository / f"examples/models/{name}/model_card.json").read_text())
        # Measured with the weights as stored here; the card's are of the run's own.
        assert float(shown[name]) == pytest.approx(
            100 * card["metrics"]["mean_iou_cityscapes"], abs=0.05
        )
        assert not card["source"]["checkpoint"].startswith("/")
