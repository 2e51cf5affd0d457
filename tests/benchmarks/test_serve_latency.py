"""The benchmark of served models: its PyTorch network is ours, and it runs."""

import json
import subprocess
import sys

import numpy as np
import pytest

from c3tf.nets import backbones, deeplab


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "output_stride"),
    [("resnet50", 16), ("resnet101", 8), ("efficientnet_lite0", 8), ("efficientnet_lite0", 16)],
)
def test_the_pytorch_network_gives_the_same_logits(
    backbone, output_stride, repository, monkeypatch
):
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(repository / "benchmarks")
    import torch_deeplab

    network = deeplab.build(backbone, 5, output_stride, None, "random")
    rng = np.random.default_rng(0)
    for weight in network.weights:
        if "_bn/" in weight.path:
            weight.assign(rng.uniform(0.7, 1.3, weight.shape))
    layout = backbones.torch_layout(backbone)
    other = torch_deeplab.DeepLab(
        backbone, 5, output_stride, layout.scale, layout.offset, layout.epsilon
    ).eval()
    weights = {w.path.removeprefix(backbones.PREFIX): w.numpy() for w in network.weights}
    torch_deeplab.assign(other, weights)
    images = rng.integers(0, 256, (2, 64, 96, 3)).astype(np.uint8)
    expected = network(images)["logits"].numpy()
    with torch.inference_mode():
        found = other.logits(torch.from_numpy(images)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
    with pytest.raises(ValueError, match="more than the network takes"):
        torch_deeplab.assign(other, {**weights, "extra": np.zeros(1)})


@pytest.mark.slow
def test_it_runs(repository, tmp_path):
    command = [sys.executable, "benchmarks/serve_latency.py", "--quick", "--nopytorch"]
    command += ["--backbone=efficientnet_lite0", f"--json={tmp_path / 'result.json'}"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "result.json").read_text())["rows"]
    assert row["times_as_fast"]["unfolded"] > 1
    assert "| efficientnet_lite0 | 1 |" in done.stdout
