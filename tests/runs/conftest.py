"""What the tests of whole runs share: a data set and networks that train in seconds."""

import pytest

import tiny_command
from c3tf.training import builder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a tiny data set."""
    folder = tmp_path_factory.mktemp("runs") / "data"
    tiny_command.write_data(folder)
    return folder


@pytest.fixture
def tiny_networks(monkeypatch):
    """Lets every run in this process train tiny networks."""
    monkeypatch.setattr(builder, "build_model", tiny_command.build_model)
