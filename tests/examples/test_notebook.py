"""The notebook, run from top to bottom in a process of its own."""

import os
import subprocess
import sys

import pytest
from PIL import Image

import c3tf


@pytest.mark.slow
def test_the_notebook_runs(repository, tmp_path):
    done = subprocess.run(
        [sys.executable, str(repository / "examples" / "notebook.py")],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "mean IoU (cityscapes rule)" in done.stdout
    assert "of the pixels as before the export" in done.stdout
    with Image.open(tmp_path / "notebook" / "prediction.png") as drawn:
        assert drawn.size == (224, 2 * 112)
    assert c3tf.load(tmp_path / "notebook" / "exported").label_map.num_classes == 19
