"""The side of `train_step` that runs PyTorch: the same step, as its users would write it."""

import contextlib
import copy
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import torch_deeplab
import torch_method
import train_step_side

RATE, BACKBONE_RATE, DECAY, LAMBDA1, LAMBDA2 = 2.5e-4, 0.1, 0.99, 50.0, 0.1


class Network(torch_deeplab.DeepLab):
    """DeepLab v2 with the projection head."""

    def __init__(self, *arguments, embedding_dim: int, channels_last: bool, **options) -> None:
        super().__init__(*arguments, **options)
        features = next(iter(self.head.values())).in_channels
        self.channels_last = channels_last
        self.projection = nn.ModuleDict(
            {
                "projection_hidden": nn.Conv2d(features, features, 1),
                "projection_output": nn.Conv2d(features, embedding_dim, 1),
            }
        )

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Computes logits and embedding, float32, at the output stride."""
        x = images.permute(0, 3, 1, 2).float() * self.scale + self.offset
        # Bytes come with the channels last; whoever does not ask for that format has the other.
        x = x if self.channels_last else x.contiguous()
        features = self.backbone(x)
        logits = sum(branch(features) for branch in self.head.values())
        hidden = functional.relu(self.projection["projection_hidden"](features), inplace=True)
        return logits.float(), self.projection["projection_output"](hidden).float()


class Step:
    """One semi-supervised step, and what it changes."""

    def __init__(self, way: str, case: dict, folder: Path) -> None:
        with np.load(folder / "batch.npz") as arrays:
            self.batch = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        self.case = case
        self.student = _load(way, case, folder / "weights.npz")
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        trained = [p for p in self.student.parameters() if p.requires_grad]
        backbone = {id(p) for p in self.student.backbone.parameters()}
        groups = [
            {"params": [p for p in trained if id(p) in backbone], "lr": RATE * BACKBONE_RATE},
            {"params": [p for p in trained if id(p) not in backbone], "lr": RATE},
        ]
        self.optimizer = torch.optim.Adam(groups, fused=True)
        pairs = zip(self.student.parameters(), self.teacher.parameters(), strict=True)
        moving = [(s, t) for s, t in pairs if s.requires_grad]
        self.moving = [list(part) for part in zip(*moving, strict=True)]
        self.thresholds = torch.zeros(case["num_classes"])
        self.dense = torch_method.dense_losses
        self.targets = torch_method.targets
        if way == "compile":
            self.student_run, self.teacher_run = (
                torch.compile(self.student),
                torch.compile(self.teacher),
            )
            self.dense, self.targets = torch.compile(self.dense), torch.compile(self.targets)
        else:
            self.student_run, self.teacher_run = self.student, self.teacher
        self.seconds: dict[str, float] = {}

    def __call__(self) -> dict[str, float]:
        """Makes one step and returns its losses."""
        batch, half = self.batch, self.case["precision"] == "mixed_bfloat16"
        precision = torch.autocast("cpu", torch.bfloat16, enabled=half)
        with self._part("rest"), torch.no_grad():
            torch._foreach_lerp_(self.moving[1], self.moving[0], 1 - DECAY)
        with self._part("teacher"), torch.no_grad(), precision:
            both = self.teacher_run(torch.cat([batch["x"], batch["u_w"]]))
            logits_t, keys = (output.float() for output in both)
        with self._part("losses"):
            pairs = len(batch["x"])
            size = batch["y"].shape[1:]
            probabilities, certainty, predicted = self.targets(logits_t[pairs:], tuple(size))
            self.thresholds = torch_method.update_thresholds(
                self.thresholds, certainty, predicted, batch["u_valid"]
            )
            confident = batch["u_valid"] & (certainty >= self.thresholds[predicted])
            places = torch_method.mix_places(batch["mix_order"], batch["mix_boxes"])
            images = torch.cat([batch["x"], batch["u_s"]])
            mixed = torch_method.mix(images, places)
        with self._part("student forward"), precision:
            logits, embedding = self.student_run(mixed)
        with self._part("losses"):
            full = functional.interpolate(logits, size, mode="bilinear", align_corners=False)
            apart = torch_method.unmix(full, places, channels_first=True)
            supervised, consistency = self.dense(
                apart[:pairs], apart[pairs:], batch["y"], probabilities, confident
            )
            contrast = torch_method.contrast(
                logits, embedding, keys, places, batch["y"], predicted, confident
            )
            loss = supervised + LAMBDA1 * consistency + LAMBDA2 * contrast
        with self._part("backward"):
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        with self._part("optimizer"):
            self.optimizer.step()
        return {"supervised": supervised.item(), "consistency": consistency.item()}

    def parts(self) -> dict[str, float]:
        """Returns the least seconds of each part over a few steps."""
        rows = []
        for _ in range(5):
            self.seconds = {}
            self()
            rows.append(self.seconds)
        return {name: min(row[name] for row in rows) for name in rows[0]}

    @contextlib.contextmanager
    def _part(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def _load(way: str, case: dict, path: Path) -> Network:
    with np.load(path) as arrays:
        weights = dict(arrays)
    network = Network(
        case["backbone"],
        case["num_classes"],
        case["output_stride"],
        tuple(np.broadcast_to(weights.pop("scale"), 3).tolist()),
        tuple(np.broadcast_to(weights.pop("offset"), 3).tolist()),
        float(weights.pop("epsilon")),
        embedding_dim=weights["projection_output/bias"].shape[0],
        channels_last=way != "eager",
    )
    torch_deeplab.assign(network, weights)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last) if way != "eager" else network


def main() -> None:
    """Serves one case."""
    _, way, case, folder = sys.argv
    torch.manual_seed(0)
    step = Step(way, json.loads(case), Path(folder))
    train_step_side.serve(step, step.parts)


if __name__ == "__main__":
    main()
