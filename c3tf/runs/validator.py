"""The evaluations of a run while it trains, and their newest results."""

import sys
from collections.abc import Mapping

import keras

from c3tf.data.manifest import Manifest
from c3tf.data.validation import val_dataset
from c3tf.evaluation.evaluator import EvaluationResult, Evaluator
from c3tf.io import json_files
from c3tf.progress import Progress
from c3tf.runs import journal, run_dir
from c3tf.runs.stopping import StopRequest

_SPLIT = "val"


class _GivenUpError(Exception):
    """An evaluation was asked to stop."""


class Validator:
    """Evaluates networks on the validation images; the results of the last time are kept."""

    def __init__(self, data_dir: str, manifest: Manifest, output: str, title: str) -> None:
        """Prepares evaluations.

        Args:
            data_dir: directory of the data set.
            manifest: its description.
            output: directory of the run, which the results are written to.
            title: what progress lines call the run.
        """
        self._data_dir, self._manifest = data_dir, manifest
        self._output, self._title = output, title
        self._evaluators: dict[str, Evaluator] = {}
        self.results: dict[str, EvaluationResult] = {}

    def run(self, networks: Mapping[str, keras.Model], step: int, stop: StopRequest) -> bool:
        """Evaluates networks, writes the results and prints their scores.

        Args:
            networks: networks by name.
            step: training steps they have seen.
            stop: gives the evaluation up when requested.

        Returns:
            Whether the evaluation was finished; if not, the results are those from before.
        """
        results = {}
        for name, network in networks.items():
            try:
                results[name] = self._evaluate(name, network, step, stop)
            except _GivenUpError:
                return False
        for name, result in results.items():
            path = run_dir.evaluation_path(self._output, step, name)
            with journal.writing(path):
                json_files.write(path, result.to_json())
        self.results = results
        scores = ", ".join(f"{n} {r.mean_iou():.2%}" for n, r in results.items())
        print(f"{self._title}: mIoU after step {step}: {scores}", file=sys.stderr)
        return True

    def score(self, name: str, step: int) -> float | None:
        """Returns a network's mean IoU at a step; None when it was not evaluated there."""
        result = self.results.get(name)
        fresh = result is not None and result.protocol["step"] == step
        return result.mean_iou() if fresh else None

    def _evaluate(
        self, name: str, network: keras.Model, step: int, stop: StopRequest
    ) -> EvaluationResult:
        names = self._manifest.names(_SPLIT)
        shown = Progress(len(names), f"images, {self._title} {name}")

        def progress(done: int) -> None:
            if stop.requested:
                raise _GivenUpError
            shown(done)

        label_map = self._manifest.label_map
        evaluator = self._evaluators.setdefault(name, Evaluator(network, label_map))
        protocol = {"data": self._data_dir, "split": _SPLIT, "step": step, "weights": name}
        return evaluator.run(
            val_dataset(self._data_dir), names=names, protocol=protocol, progress=progress
        )
