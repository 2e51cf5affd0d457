"""Own data end to end, by the commands a user runs: every step follows the label-map file."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from c3tf.serving import saved_model
from raw_trees import write_folder

pytestmark = pytest.mark.slow


def _run(repository, module, **flags):
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=repository,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_own_masks_become_a_model_that_speaks_their_classes(repository, tmp_path):
    raw = write_folder(tmp_path / "raw", count=12, unlabeled=4, masks="colors")
    data, split, run = tmp_path / "data", tmp_path / "split.txt", tmp_path / "run" / "c3"
    _run(
        repository,
        "data_tools.folder",
        images=raw / "photos",
        masks=raw / "masks",
        masks_are="colors",
        unlabeled=raw / "more",
        label_map=raw / "classes.json",
        val_fraction=0.25,
        height=48,
        output=data,
        num_workers=1,
        verify=True,
    )
    _run(repository, "data_tools.splits", data=data, labeled=4, output=split)
    _run(
        repository,
        "c3tf.train",
        data=data,
        split=split,
        output=run.parent,
        backbone="efficientnet_lite0",
        backbone_weights="random",
        output_stride=16,
        crop_height=48,
        crop_width=64,
        global_batch_size=4,
        mix_group=2,
        steps=4,
        supervised_steps=2,
        consistency_ramp_steps=2,
        learning_rate=1e-3,
        log_every=2,
        checkpoint_every=2,
        evaluate_every=4,
    )
    table = _run(repository, "c3tf.evaluate", model=run, data=data, output=tmp_path / "r.json")
    assert all(name in table for name in ("lawn", "path", "shed"))
    assert "road" not in table
    assert set(json.loads((tmp_path / "r.json").read_text())["metrics"]["iou"]) == {
        "lawn",
        "path",
        "shed",
    }

    saved = saved_model.load(run / "saved_model")
    assert saved.label_map.name == "yard"
    out = tmp_path / "predicted"
    _run(repository, "c3tf.predict", model=run, images=raw / "more", output=out, ids="raw")
    colors, ids = set(), set()
    for path in sorted(out.rglob("*.png")):
        pixels = np.asarray(Image.open(path).convert("RGB" if "color" in str(path) else "L"))
        if "color" in str(path.relative_to(out)):
            colors |= {tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()}
        elif "ids" in str(path.relative_to(out)):
            ids |= set(np.unique(pixels).tolist())
    assert colors
    assert colors <= {(16, 192, 32), (200, 180, 20), (120, 30, 30)}
    assert ids
    assert ids <= {4, 2, 9}
