"""Fixtures that several tests share."""

import os
from pathlib import Path

import pytest

# Before TensorFlow is imported anywhere: no GPU is looked for, and no banner is printed.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The team's folder of data, weights and reference numbers, beside the repository."""
    path = REPOSITORY.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"needs the shared data folder beside the repository ({path.name}/)")
    return path
