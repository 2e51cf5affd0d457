"""A conversion killed at any moment continues to the bytes of an undisturbed one."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from c3tf.data import manifest as manifests
from c3tf.labels import CAMVID
from data_tools import camvid, verify
from data_tools.conversion import convert, planning
from data_tools.conversion.example import ConversionOptions
from data_tools.conversion.runners import LocalRunner
from raw_trees import save, write_camvid


def _contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def _start(repository, source, output):
    # Shards of 1 MB and less: kills hit every stage of many.
    command = [sys.executable, "-m", "data_tools.camvid", "--num_workers=2", "--shard_mb=1"]
    return subprocess.Popen(
        [*command, f"--source={source}", f"--output={output}", "--image_format=png"],
        cwd=repository,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _undisturbed(repository, source, output):
    """Converts to the end; returns how many seconds it took."""
    start = time.monotonic()
    with _start(repository, source, output) as process:
        assert process.wait() == 0, process.stderr.read()
    return time.monotonic() - start


def _killed_and_continued(repository, source, output, kills, seconds, seed):
    """Kills runs at random moments, then lets one end; returns how many were hit at work."""
    rng = np.random.default_rng(seed)
    hit = 0
    # Every run has to load its modules first; most kills shall hit it while it converts.
    for wait in rng.uniform(0.2, 1.0, kills) * seconds:
        with _start(repository, source, output) as process:
            try:
                process.wait(timeout=wait)
            except subprocess.TimeoutExpired:
                hit += 1
                process.send_signal(signal.SIGKILL)
            if (output / manifests.FILE_NAME).exists():
                # Finished early: what follows would only be refused.
                break
    if not (output / manifests.FILE_NAME).exists() or (output / manifests.INCOMPLETE_DIR).exists():
        _undisturbed(repository, source, output)
    return hit


# Converts with two workers and kills itself, as the system does it, after some images.
_KILL_ITSELF = """
import os, signal, sys
from c3tf.labels import CAMVID
from data_tools import camvid
from data_tools.conversion import convert, planning
from data_tools.conversion.example import ConversionOptions
from data_tools.conversion.runners import LocalRunner

def main():
    def progress(done):
        if done == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

    planning.count_shards = lambda count, *_: 3
    convert.convert(
        camvid.discover(sys.argv[1]), sys.argv[2], ConversionOptions("camvid", CAMVID), "tests",
        runner=LocalRunner(2, lambda total: progress),
    )

if __name__ == "__main__":
    main()
"""


def test_a_killed_run_continues(repository, tmp_path, monkeypatch):
    source = write_camvid(tmp_path / "raw")
    monkeypatch.setattr(planning, "count_shards", lambda count, *_: 3)
    command = [sys.executable, "-c", _KILL_ITSELF, str(source), str(tmp_path / "out"), "5"]
    killed = subprocess.run(command, cwd=repository, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "out" / "train-00000-of-00003.tfrecord").exists()
    assert not (tmp_path / "out" / manifests.FILE_NAME).exists()
    seen = []
    for output in ("whole", "out"):
        convert.convert(
            camvid.discover(str(source)),
            str(tmp_path / output),
            ConversionOptions("camvid", CAMVID),
            "tests",
            runner=LocalRunner(1, lambda total: seen.append(total) or (lambda done: None)),
        )
    assert seen == [12, 9]
    assert _contents(tmp_path / "out") == _contents(tmp_path / "whole")


@pytest.mark.slow
def test_twenty_kills_on_300_images(repository, tmp_path):
    source = write_camvid(tmp_path / "raw", train=240, val=60)
    rng = np.random.default_rng(0)
    # Images that take their time: noise of 480x360 pixels, so that the run lasts many seconds.
    _enlarge(source, rng)
    seconds = _undisturbed(repository, source, tmp_path / "whole")
    total = round_number = 0
    while total < 20:
        output = tmp_path / f"out{round_number}"
        hit = _killed_and_continued(
            repository, source, output, 20 - total, seconds, seed=round_number
        )
        total += hit
        round_number += 1
        assert _contents(output) == _contents(tmp_path / "whole")
        verify.verify(str(output), num_workers=2)


def _enlarge(source, rng):
    """Replaces all images and masks by larger ones."""
    for split in ("train", "val"):
        for path in (source / split).iterdir():
            save(path, rng.integers(0, 256, (360, 480, 3), np.uint8))
            mask = rng.integers(0, 11, (45, 60)).astype(np.uint8)
            grown = np.kron(mask, np.ones((8, 8), np.uint8))
            save(source / f"{split}annot" / path.name, grown)
