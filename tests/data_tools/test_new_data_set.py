"""A new data set is one file: what docs/data.md says, tried with Mapillary Vistas' layout."""

import os
import subprocess
import sys

import numpy as np
from PIL import Image

from c3tf.data import manifest as manifests
from raw_trees import pair, save

_VISTAS = """
from absl import flags
from c3tf import cli
from c3tf.labels import LabelMap
from data_tools import command
from data_tools.conversion import layout, pairing

VISTAS = LabelMap("vistas", ("bird", "curb"), ((165, 42, 42), (196, 196, 196)), (0, 2), (65,))
PARTS = {"train": "training", "val": "validation"}

def discover(source):
    folders = {s: (f"{part}/images", f"{part}/v1.2/labels") for s, part in PARTS.items()}
    layout.recognise(source, {"v1.2": layout.required(folders)})
    pairs, left_out = pairing.pair_splits(source, folders)
    return pairing.SourceListing(source, "Vistas v1.2", "raw", tuple(pairs), left_out)

def main():
    command.convert_source(lambda: discover(flags.FLAGS.source), "vistas", VISTAS)

if __name__ == "__main__":
    command.define_flags(palette_masks=True)
    flags.adopt_module_key_flags(command)
    cli.run(main)
"""


def test_a_layout_and_a_command_in_one_file_convert_a_data_set(repository, tmp_path):
    for part, count in (("training", 3), ("validation", 1)):
        for index in range(count):
            image, mask = pair(index, (0, 2, 65))
            painted = Image.fromarray(mask, "P")
            painted.putpalette(np.arange(768, dtype=np.uint8).tobytes())
            save(tmp_path / "raw" / part / f"images/{part}{index}.jpg", image)
            save(tmp_path / "raw" / part / f"v1.2/labels/{part}{index}.png", painted)
    (tmp_path / "vistas.py").write_text(_VISTAS)
    command = [sys.executable, str(tmp_path / "vistas.py"), f"--source={tmp_path / 'raw'}"]
    done = subprocess.run(
        [*command, f"--output={tmp_path / 'out'}", "--num_workers=1", "--verify"],
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    manifest = manifests.load(str(tmp_path / "out"))
    assert {split: info.labeled for split, info in manifest.splits.items()} == {
        "train": 3,
        "val": 1,
    }
    expected = np.zeros(256, int)
    for index in range(3):
        expected += np.bincount(pair(index, (0, 2, 65))[1].ravel(), minlength=256)
    assert manifest.splits["train"].class_pixels == (expected[0], expected[2])
    assert manifest.splits["train"].ignored_pixels == expected[65]
