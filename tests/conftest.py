"""Fixtures that several tests share."""

import os
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# Before TensorFlow is imported anywhere: no GPU is looked for, and no banner is printed.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Timing never decides whether a test passes.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_addoption(parser):
    """Adds how thorough the slow tests of kills and of damaged files are."""
    parser.addoption("--kills", type=int, default=20, help="SIGKILLs of tests/test_kills.py")
    parser.addoption("--fuzz", type=int, default=30, help="seconds for each test of test_fuzz.py")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Passes over files without a smoke test where only those are asked for.

    Every worker imports what it collects, which takes longer than many of the smoke tests.
    """
    if config.option.markexpr != "smoke" or collection_path.suffix != ".py":
        return None
    return "mark.smoke" not in collection_path.read_text(encoding="utf-8") or None


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def authors() -> dict[str, np.ndarray]:
    """What the authors' code computed, by the names of `reference_data/README.md`."""
    with np.load(REPOSITORY / "tests" / "reference_data" / "authors_code.npz") as numbers:
        return dict(numbers)
