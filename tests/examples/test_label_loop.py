"""The loop from photos to the next label, played from end to end."""

import json
import os
import subprocess
import sys

import cv2
import pytest


@pytest.mark.slow
def test_the_loop_ends_in_a_model_of_twice_the_labels_and_a_video(repository, tmp_path):
    script = repository / "examples" / "label_loop.py"
    folder = tmp_path / "loop"
    options = ["--count=4", "--scenes=16", "--steps=20"]
    done = subprocess.run(
        [sys.executable, str(script), f"--output={folder}", *options],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    counts = []
    for name in ("first", "second"):
        described = json.loads((folder / f"{name}_data" / "dataset.json").read_text())
        counts.append(sum(s["count"] for s in described["splits"]["train"]["shards"]))
        assert f"{name}: mean IoU" in done.stdout
    assert counts == [4, 8]
    film = cv2.VideoCapture(str(folder / "predicted.mp4"))
    assert int(film.get(cv2.CAP_PROP_FRAME_COUNT)) == 30
    assert film.get(cv2.CAP_PROP_FRAME_WIDTH) == 2 * 256
    again = subprocess.run(
        [sys.executable, str(script), f"--output={folder}"],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
    )
    assert again.returncode == 1
    assert "is not empty" in again.stderr
