"""Makes the embedded data set when a run asks for it and it is not there yet."""

import os
import subprocess
import sys
from pathlib import Path

from c3tf.config import Config
from c3tf.data import manifest
from c3tf.errors import UserError

# The raw scenes lie beside the data set made from them, under its name with this ending.
_RAW = "_raw"


def ensure_data(config: Config) -> None:
    """Runs the commands that make `--data`, where `--prepare` asks for it and it is absent.

    They run as commands, not as functions: their workers then start without TensorFlow, and the
    user sees what to type for other data.

    Raises:
        UserError: one of them failed, or `--data` is empty.
    """
    data = config.data.data
    if config.data.prepare == "none" or os.path.exists(os.path.join(data, manifest.FILE_NAME)):
        return
    if not data:
        raise UserError("`--data` must name the directory that --prepare makes. Received: nothing")
    raw = os.path.normpath(data) + _RAW
    if not os.path.exists(raw):
        _run("data_tools.street_scenes", f"--output={raw}")
    _run("data_tools.bdd100k", f"--source={raw}", f"--output={data}")


def _run(module: str, *arguments: str) -> None:
    """Runs a command of this project, and prints how it was called."""
    print("$", "python -m", module, *arguments, flush=True)
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", module, *arguments]
    if subprocess.run(command, env={**os.environ, "PYTHONPATH": path}).returncode:
        raise UserError(f"`python -m {module} {' '.join(arguments)}` failed; see above.")
