"""One training run, from configuration to results."""

import dataclasses
import os
import sys
from typing import Any

import keras
import tensorflow as tf

from c3tf import model_card, serving
from c3tf.config import Config
from c3tf.config_checks import ALL, ConfigError
from c3tf.data import manifest as manifests
from c3tf.data import pipeline, splits
from c3tf.data.errors import DataError
from c3tf.data.validation import val_dataset
from c3tf.evaluation import writers
from c3tf.evaluation.evaluator import EvaluationResult, Evaluator
from c3tf.labels import LabelMap
from c3tf.nets import deeplab
from c3tf.progress import Progress
from c3tf.training import callbacks, distribution, optimizer, run_dir
from c3tf.training.checkpoint import CheckpointStore
from c3tf.training.segmenter import Segmenter
from c3tf.versions import versions

RESULTS = "results.json"
SAVED_MODEL = "saved_model"
# What TensorFlow's messages name when an error came from the input pipeline.
_FROM_PIPELINE = "IteratorGetNext"


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a finished run has produced.

    Attributes:
        student: evaluation of the student after the last step.
        teacher: the teacher's; None for the supervised baseline.
        saved_model: path of the exported SavedModel.
        model: the exported network.
        label_map: its classes.
    """

    student: EvaluationResult
    teacher: EvaluationResult | None
    saved_model: str
    model: keras.Model
    label_map: LabelMap


class Run:
    """A training run: opened and checked first, then trained or continued."""

    def __init__(
        self, config: Config, title: str, strategy: tf.distribute.Strategy | None = None
    ) -> None:
        """Checks everything that can be checked before time is spent; writes nothing.

        Args:
            config: what to do.
            title: what progress lines call the run.
            strategy: the devices, where several runs share them; made from `config` when absent.

        Raises:
            UserError: data, weights, devices or the output directory do not fit.
        """
        self.config, self.title = config, title
        self.output = config.training.output
        if not config.data.data:
            raise ConfigError("`--data` must name a converted data set. Received: nothing")
        if not self.output:
            raise ConfigError("`--output` must name the run directory. Received: nothing")
        run_dir.check(self.output, config)
        self.manifest = manifests.verify(config.data.data)
        self.label_map = self.manifest.label_map
        self.split = open_split(self.manifest, config)
        val_dataset(config.data.data)
        self.data = pipeline.open_training_data(self.manifest, self.split, config)
        strategy = strategy or distribution.create_strategy(config)
        self.num_replicas = strategy.num_replicas_in_sync
        distribution.check_divisible(config, self.num_replicas)
        with strategy.scope():
            self.model = _build(config, self.label_map)
        self._store = CheckpointStore(self.output, config.training.keep_checkpoints)
        self._evaluators: dict[str, Evaluator] = {}
        self._results: dict[str, EvaluationResult] = {}
        self._best = -1.0

    def describe(self) -> str:
        """Returns what will be done, in a few lines to be printed at the start."""
        config, training = self.config, self.config.training
        size = config.labeled_batch_size
        parameters = sum(int(v.shape.num_elements()) for v in self.model.student.trainable_weights)
        epochs = training.steps * size / self.data.num_labeled
        phases = f"{training.steps} steps of {size} labeled images"
        if config.method.method == "c3":
            phases = (
                f"{config.supervised_steps} steps of {size} labeled images, then "
                f"{training.steps - config.supervised_steps} with {size} unlabeled ones"
            )
        return "\n".join(
            [
                f"{self.title}: {config.network.backbone} at stride "
                f"{config.network.output_stride}, {parameters / 1e6:.1f} M trained parameters, "
                f"{self.num_replicas} replica(s)",
                f"  data {config.data.data}: {self.data.num_labeled} labeled "
                f"(split {self.split.hash}), {self.data.num_unlabeled} unlabeled, "
                f"{self.manifest.count('val')} validation images, "
                f"{self.label_map.num_classes} classes",
                f"  {phases} ({epochs:.0f} epochs of the labeled ones)",
                f"  learning rate {training.learning_rate:g} at "
                f"{training.global_batch_size} images a step, output {self.output}",
            ]
        )

    def train(self) -> RunResult:
        """Trains to the last step, or goes on from the newest checkpoint, and exports.

        Raises:
            UserError: the data turn out to be damaged, or a loss is not finite.
        """
        run_dir.claim(self.output, self.config, self.split.hash, self.manifest.digest())
        facts = self._store.restore(self.model)
        step = optimizer.steps_done(self.model.optimizer)
        if facts is not None:
            self._best = facts["best"]
            if facts["has_teacher"]:
                self.model.begin_semi_supervised(copy_student=False)
            print(f"{self.title}: continues after step {step}", file=sys.stderr)
        try:
            self._train_from(step)
        except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
            if _FROM_PIPELINE not in error.message:
                raise
            raise DataError(
                f"{self.config.data.data}: a record cannot be used: {_reason(error)}. Convert the "
                "data set again; training continues from its newest checkpoint."
            ) from error
        return self._finish()

    def _train_from(self, step: int) -> None:
        """Runs what is left of the supervised phase, then of the semi-supervised one."""
        config, data = self.config, self.data
        boundary, last = config.supervised_steps, config.training.steps
        hooks = self._callbacks(step)
        if step < boundary:
            self._fit(pipeline.supervised_batches(data, config, step), boundary - step, hooks)
        if boundary < last and step < last:
            if not self.model.semi_supervised:
                self.model.begin_semi_supervised(copy_student=True)
            step = max(step, boundary)
            self._fit(pipeline.semi_supervised_batches(data, config, step), last - step, hooks)

    def _fit(
        self, dataset: tf.data.Dataset, steps: int, hooks: list[keras.callbacks.Callback]
    ) -> None:
        self.model.fit(dataset, steps_per_epoch=steps, verbose=0, callbacks=hooks, shuffle=False)

    def _callbacks(self, step: int) -> list[keras.callbacks.Callback]:
        training = self.config.training
        last = training.steps
        console = callbacks.Console(self.title, last, self.config.labeled_batch_size)
        jsonl = callbacks.JsonLines(os.path.join(self.output, "metrics.jsonl"), step)
        log = callbacks.ScalarLog(training.log_every, last, [console, jsonl])

        def save(step: int) -> None:
            # A loss that is not finite stops the run here, before its weights are saved.
            log.flush(step)
            self._save(step)

        return [
            log,
            callbacks.At(training.evaluate_every, last, self._evaluate),
            callbacks.At(training.checkpoint_every, last, save),
        ]

    def _evaluate(self, step: int) -> None:
        """Evaluates student and teacher, and remembers the result for the checkpoint."""
        networks = {"student": self.model.student}
        if self.model.semi_supervised:
            networks["teacher"] = self.model.teacher
        protocol = {"data": self.config.data.data, "split": "val", "step": step}
        data, names = val_dataset(self.config.data.data), self.manifest.names("val")
        for name, network in networks.items():
            evaluator = self._evaluators.setdefault(name, Evaluator(network, self.label_map))
            result = evaluator.run(
                data,
                names=names,
                protocol={**protocol, "weights": name},
                progress=Progress(len(names), f"images, {self.title} {name}"),
            )
            self._results[name] = result
            path = run_dir.evaluation_path(self.output, step, name)
            writers.write_json(path, result.to_json())
        scores = ", ".join(f"{n} {r.mean_iou():.2%}" for n, r in self._results.items())
        print(f"{self.title}: mIoU after step {step}: {scores}", file=sys.stderr)

    def _save(self, step: int) -> None:
        evaluated = self._results.get(self.config.training.export_weights)
        fresh = evaluated is not None and evaluated.protocol["step"] == step
        score = evaluated.mean_iou() if fresh else -1.0
        best, self._best = score > self._best, max(score, self._best)
        path = self._store.save(self.model, self._facts())
        if best:
            self._store.mark_best(path)

    def _facts(self) -> dict[str, Any]:
        """Returns what a checkpoint has to say about itself."""
        return {
            "config": self.config.to_dict(),
            "label_map": self.label_map.to_json(),
            "network": self.model.student.to_json(),
            "split": self.split.hash,
            "has_teacher": self.model.semi_supervised,
            "best": self._best,
            "versions": versions(),
        }

    def _finish(self) -> RunResult:
        """Writes the results and exports the network."""
        if not self._results:
            self._evaluate(self.config.training.steps)
        chosen = self.config.training.export_weights
        results = {name: result.to_json() for name, result in self._results.items()}
        network = getattr(self.model, chosen)
        path = serving.save(
            network,
            self.label_map,
            os.path.join(self.output, SAVED_MODEL),
            source={
                "checkpoint": os.path.abspath(self.output),
                "weights": chosen,
                "step": self.config.training.steps,
                "config": self.config.to_dict(),
                "data": self.manifest.digest(),
                "split": self.split.hash,
            },
            metrics=model_card.measured(results[chosen]),
            overwrite=True,
        )
        writers.write_json(os.path.join(self.output, RESULTS), results)
        return RunResult(
            student=self._results["student"],
            teacher=self._results.get("teacher"),
            saved_model=str(path),
            model=network,
            label_map=self.label_map,
        )


def open_split(manifest: manifests.Manifest, config: Config) -> splits.Split:
    """Reads or draws the labeled/unlabeled split of a run.

    Raises:
        DataError: it does not fit the data set.
    """
    names = manifest.names("train")
    if config.data.split:
        return splits.read(config.data.split, names)
    count = len(names) if config.data.labeled == ALL else int(config.data.labeled)
    return splits.draw(names, count, config.data.split_seed)


def _build(config: Config, label_map: LabelMap) -> Segmenter:
    """Builds student, teacher and optimizer, inside the strategy's scope."""
    network = config.network
    student = deeplab.build(
        backbone=network.backbone,
        num_classes=label_map.num_classes,
        output_stride=network.output_stride,
        embedding_dim=network.embedding_dim if config.uses_contrast else None,
        backbone_weights=network.backbone_weights,
        train_batch_norm=network.train_batch_norm,
        seed=config.training.seed,
    )
    teacher = None
    if config.method.method == "c3":
        # The same description without the weights: those are copied when the teacher begins.
        teacher = keras.Model.from_config({**student.get_config(), "name": "teacher"})
    model = Segmenter(student, teacher, label_map.num_classes, config)
    adam = optimizer.build(config, deeplab.is_backbone, deeplab.is_projection)
    adam.build(student.trainable_variables)
    # XLA fails under MirroredStrategy and is slower for dilated convolutions on CPU.
    model.compile(optimizer=adam, jit_compile=False)
    return model


def _reason(error: tf.errors.OpError) -> str:
    return error.message.splitlines()[0]
