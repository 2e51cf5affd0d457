"""An experiment: one configuration, and what is done with it from preview to export."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from PIL import Image

from c3tf import models, suggestions
from c3tf.config import Config, ConfigError, absl_flags
from c3tf.config.methods import METHODS
from c3tf.data import manifest as manifests
from c3tf.data import pipeline
from c3tf.data.training_data import open_training_data
from c3tf.evaluation.options import EvaluationOptions
from c3tf.evaluation.result import EvaluationResult
from c3tf.inference import networks
from c3tf.labels import LabelMap
from c3tf.runs import configs, run_dir, series, setup
from c3tf.serving.options import ExportOptions
from c3tf.training import builder
from c3tf.training import preview as previews


class Experiment:
    """Previews, trains, evaluates and exports what one configuration says.

    Example:
        ```python
        experiment = c3tf.Experiment.from_flags("configs/demo.flags", steps=200)
        experiment.preview()                      # a picture, shown by a notebook
        result = experiment.train()
        print(result.table())
        experiment.export("exported")
        ```

    Attributes:
        config: the configuration, complete and checked.
    """

    def __init__(self, config: Config) -> None:
        """Takes a configuration; nothing is read or written yet.

        Args:
            config: as `c3tf.Config` or `Config().with_options(data=..., output=...)` gives it.

        Raises:
            ConfigError: `config` is something else.
        """
        if not isinstance(config, Config):
            raise ConfigError(f"`config` must be a c3tf.Config. Received: {config!r}")
        self.config = config

    @classmethod
    def from_flags(cls, *files: str | os.PathLike, **options: Any) -> "Experiment":
        """Reads flag files, as `--flagfile` does.

        Args:
            *files: flag files; `configs/...` that is not there is one that comes with c3tf. Where
                two set an option, the later one wins.
            **options: options by the names of their flags; they win over the files. A sequence
                stands for a list, `scales=(0.75, 1.0)`.

        Raises:
            UserError: a file cannot be read, an option is unknown, or a value is refused.
        """
        return cls(absl_flags.from_files(files, options))

    @property
    def output(self) -> str:
        """The directory of the method's own run: `--output` and the name of the method.

        Raises:
            ConfigError: there is no `--output`.
        """
        return configs.in_its_folder(self.config).training.output

    def preview(
        self, rows: int = 8, at_step: int | None = None, model: str | None = None
    ) -> Image.Image:
        """Draws the images, labels and views that training would get.

        Args:
            rows: rows of the sheet; each shows one labeled image.
            at_step: training step to start at; the first of the method's own phase when absent.
            model: run, checkpoint or SavedModel that says what unlabeled images show, for a method
                that mixes by classes; its own networks before the first step when absent.

        Returns:
            An RGB picture.

        Raises:
            UserError: there is no data set, `rows` or `at_step` is out of range, or `model` cannot
                be used.
        """
        return preview(self.config, rows, at_step, model).sheet

    def train(
        self,
        callbacks: keras.callbacks.Callback | Sequence[keras.callbacks.Callback] | None = (),
    ) -> series.SeriesResult | None:
        """Trains, or goes on with what was begun, evaluates and exports to a SavedModel.

        With `baseline` the supervised baseline is trained first. Called again it goes on from the
        newest checkpoint; a finished run gives its results again.

        Args:
            callbacks: Keras callbacks that follow the method's own run, such as MLflow's: every
                `log_every` steps, and at checkpoints, they get the scalars since the last time as
                those of an epoch, numbered by its last step.

        Returns:
            Results by the method's name, `table()`, the run directories; None on hosts other than
            the chief.

        Raises:
            Stopped: SIGTERM or Ctrl-C asked to stop; a checkpoint is written.
            StorageError: something cannot be written.
            UserError: data, weights, devices or the output directory do not fit.
        """
        return series.train(self.config, callbacks)

    def load(self, weights: str | None = None) -> models.TrainedModel:
        """Opens the newest checkpoint of the run, see `c3tf.load`.

        Raises:
            UserError: there is none, or `output` holds a run of another configuration.
        """
        return models.load(self._own_run(), weights or self._exported())

    def evaluate(
        self,
        split: str = "val",
        weights: str | None = None,
        options: EvaluationOptions | None = None,
    ) -> EvaluationResult:
        """Measures the newest checkpoint on the experiment's own data.

        Args:
            split: one whose images all have labels.
            weights: `"student"` or `"teacher"`; the one that is exported when absent.
            options: how to measure.

        Returns:
            Counts `(C, C)`, IoU `(C,)`, `mean_iou()` and `table()`.

        Raises:
            UserError: there is no checkpoint, or the data cannot be used.
        """
        return self.load(weights).evaluate(self.config.data.data, split, options)

    def suggest(
        self,
        images: str | os.PathLike,
        output: str | os.PathLike,
        options: suggestions.SuggestionOptions | None = None,
    ) -> suggestions.Suggestions:
        """Suggests which photos to label next, by the newest checkpoint; see `c3tf.suggest`.

        Args:
            images: folder of photos; those that the run has labels of may be among them.
            output: folder that gets the lists, the scores and a page.
            options: how many, and how.

        Returns:
            The photos, in the order of their choice.

        Raises:
            UserError: there is no checkpoint, or photos or options cannot be used.
        """
        return suggestions.suggest(self._own_run(), os.fspath(images), os.fspath(output), options)

    def export(
        self,
        path: str | os.PathLike,
        weights: str | None = None,
        overwrite: bool = False,
        options: ExportOptions | None = None,
    ) -> str:
        """Writes the newest checkpoint as a SavedModel, or in the formats of `options`.

        Args:
            path: folder to make.
            weights: `"student"` or `"teacher"`; the configuration's `export_weights` when absent.
            overwrite: replaces an earlier export.
            options: formats and folding.

        Returns:
            `path`.

        Raises:
            UserError: there is no checkpoint, or `path` exists.
        """
        weights = weights or self._exported()
        models.export(self._own_run(), weights, os.fspath(path), overwrite, options)
        return os.fspath(path)

    def _exported(self) -> str:
        """Names the network that the method's own run exports."""
        return configs.configs_of(self.config)[-1].training.export_weights

    def _own_run(self) -> str:
        """Returns `output`, which an experiment with other flags may have filled before."""
        run_dir.check(self.output, self.config)
        return self.output


class Preview(NamedTuple):
    """A sheet, the training step of its first batch, and how many images it could have shown."""

    sheet: Image.Image
    step: int
    num_labeled: int
    num_unlabeled: int


def preview(
    config: Config, rows: int = 8, at_step: int | None = None, model: str | None = None
) -> Preview:
    """Draws the batches that training would get, see `Experiment.preview`."""
    step = at_step
    if step is None:
        step = 0 if config.method.name == configs.BASELINE else config.first_semi_step
    _check_preview(config, rows, step, model)
    setup.ensure_data(config)
    manifest = manifests.verify(config.data.data)
    classes = None
    if config.needs.mixes_classes:
        classes = _classes(config, manifest.label_map, model)
    data = open_training_data(manifest, setup.open_split(manifest, config), config)
    supervised = step < config.first_semi_step
    make = pipeline.supervised_batches if supervised else pipeline.semi_supervised_batches
    batches = make(data, config, step)
    sheet = previews.draw(batches, config, manifest.label_map, rows, step, classes)
    return Preview(sheet, step, data.num_labeled, data.num_unlabeled)


def _classes(config: Config, label_map: LabelMap, model: str | None) -> previews.Classes:
    """Returns what a model, or the run's networks before their first step, sees in images."""
    if model is None:
        network = builder.build_model(config, label_map).labeler
        return lambda images: networks.class_map(network, images)
    opened = models.open_model(model)
    if opened.label_map.class_names != label_map.class_names:
        raise ConfigError(
            f"`--model` must have the classes of --data={config.data.data}. Received: "
            f"--model={model}, which has {', '.join(opened.label_map.class_names)}"
        )
    return lambda images: opened.predict(images, tf.constant(images.shape[1:3], tf.int32))


def _check_preview(config: Config, rows: int, step: int, model: str | None) -> None:
    """Refuses values that leave nothing to draw."""
    if model is not None and not config.needs.mixes_classes:
        mixing = [f"--method={name}" for name, needs in METHODS.items() if needs.mixes_classes]
        raise ConfigError(
            f"`--model` must go with {' or '.join(mixing)}, which mixes by classes. "
            f"Received: --model={model} --method={config.method.name}"
        )
    if not config.data.data:
        raise ConfigError("`--data` must name a converted data set. Received: nothing")
    for name, value in {"rows": rows, "at_step": step}.items():
        if not isinstance(value, int):
            raise ConfigError(f"`--{name}` must be a whole number. Received: {value!r}")
    if rows < 1:
        raise ConfigError(f"`--rows` must be at least 1. Received: {rows}")
    if not 0 <= step < config.training.steps:
        raise ConfigError(
            f"`--at_step` must be 0 to {config.training.steps - 1}, a step of the training. "
            f"Received: {step}"
        )
