"""One training run, from configuration to results."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from c3tf.config import Config, ConfigError, environment
from c3tf.data import (
    class_weights,
    judgement,
    labeled_images,
    pipeline,
    record_check,
    validation,
)
from c3tf.data import manifest as manifests
from c3tf.data.batch import SemiBatch, SupervisedBatch
from c3tf.data.training_data import open_training_data
from c3tf.errors import DataError, Stopped
from c3tf.io import tensorflow_errors
from c3tf.runs import checkpoints, nonfinite, results, run_dir, setup, summary
from c3tf.runs.checkpoints import CheckpointStore
from c3tf.runs.journal import Journal
from c3tf.runs.logging import callbacks
from c3tf.runs.logging.run_log import RunLog
from c3tf.runs.stopping import StopRequest
from c3tf.runs.validator import Validator
from c3tf.training import builder, distribution, optimizer, precision
from c3tf.versions import versions

# Steps after which several hosts tell each other whether one was asked to stop.
_AGREE_EVERY = 10
# What TensorFlow's messages name when an error came from the input pipeline.
_FROM_PIPELINE = "IteratorGetNext"
# What it raises for wrong contents; everything else is about files: deleted, unreadable.
_DAMAGED = (tf.errors.InvalidArgumentError, tf.errors.DataLossError, UnicodeDecodeError)
# Splits whose images are trained on.
_TRAINED = ("train", "unlabeled")


class Run:
    """A training run: opened and checked first, then trained or continued."""

    def __init__(
        self, config: Config, title: str, devices: distribution.Devices | None = None
    ) -> None:
        """Checks everything that can be checked before time is spent; writes nothing.

        Args:
            config: what to do.
            title: what progress lines call the run.
            devices: the devices, where several runs share them; made from `config` when absent.

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
        # Several hosts must meet before TensorFlow computes anything.
        self.devices = devices or distribution.create_devices(config)
        self.is_chief = self.devices.cluster.is_chief
        environment.settle()
        self.manifest = manifests.verify(config.data.data)
        self.label_map = self.manifest.label_map
        self.split = setup.open_split(self.manifest, config)
        self._doubtful = judgement.refuse_undefined(self.manifest).doubtful
        self.class_weights = class_weights.of(config, self.manifest)
        validation.val_dataset(config.data.data)
        # Read for the first time perhaps in hours; here all hosts fail alike.
        validation.check_shards(self.manifest, "val")
        self.data = open_training_data(self.manifest, self.split, config)
        self._doubtful += labeled_images.judge(self.data.labeled, self.manifest)
        distribution.check_divisible(config, self.devices.num_replicas)
        with self.devices.strategy.scope():
            self.model = builder.build_model(config, self.label_map, self.class_weights)
        self._store = CheckpointStore(self.output, config.training.keep_checkpoints)
        self._journal = Journal(self.output)
        self._log = RunLog(config, title, self.label_map, self.is_chief)
        self._validator = Validator(config.data.data, self.manifest, self.output, title)
        self._full = precision.FullPrecision()
        self._stop = StopRequest()
        self._other_weights = False
        self._exported = config.training.export_weights
        # Of the network that is exported.
        self._best, self._evaluation_due = -1.0, False

    def describe(self) -> str:
        """Returns what will be done, in a few lines to be printed at the start."""
        trained = self.model.student.trainable_weights
        text = summary.describe(
            self.config,
            self.data,
            title=self.title,
            parameters=sum(int(v.shape.num_elements()) for v in trained),
            devices=self._device_names(),
            split_hash=self.split.hash,
            validation_images=self.manifest.count("val"),
        )
        return "\n".join([text, *(f"warning: {sentence}" for sentence in self._doubtful)])

    def check_can_go_on(self) -> None:
        """Refuses what `train` would refuse before its first step; for a run that comes later.

        Raises:
            UserError: another process trains there, or its newest checkpoint does not fit.
        """
        if self.is_chief:
            run_dir.check_unlocked(self.output)
        facts = self._store.check(self.model)
        self._check_facts(facts["step"] if facts else 0, facts)

    def train(
        self,
        stop: StopRequest | None = None,
        followers: Sequence[keras.callbacks.Callback] = (),
    ) -> results.RunResult | None:
        """Trains to the last step, or goes on from the newest checkpoint, and exports.

        Args:
            stop: ends training after a step, once it is requested and a checkpoint is written.
            followers: callbacks that get the scalars of every interval, see `Followers`.

        Returns:
            What came out; None on hosts other than the chief, which write nothing.

        Raises:
            Stopped: it was requested.
            StorageError: something cannot be written.
            UserError: the data turn out to be damaged, or a loss is not finite.
        """
        self._stop = stop or self._stop
        with self._claimed() as changes, contextlib.closing(self._log):
            step = self._restore()
            if self.is_chief:
                self._note_start(step, changes)
            try:
                self._train_from(step, followers)
            except nonfinite.NonFiniteError as error:
                raise (self._with_evidence(error) if self.is_chief else error) from error
            except tensorflow_errors.of_data() as error:
                if _FROM_PIPELINE not in tensorflow_errors.message(error):
                    raise
                reason = tensorflow_errors.reason(error)
                if isinstance(error, _DAMAGED):
                    raise record_check.failure(self.manifest, reason, _TRAINED) from error
                raise DataError(
                    f"{self.config.data.data}: a file cannot be read any more: {reason}. "
                    "Put it back; training continues from its newest checkpoint."
                ) from error
            result = self._finish() if self.is_chief else None
            # The other hosts wait here, so that a launcher sees all processes end together.
            self.devices.gather(step)
            return result

    @contextlib.contextmanager
    def _claimed(self) -> Iterator[list[run_dir.Change]]:
        """Makes the directory this run's, keeps others out of it, and gives the changed flags."""
        if not self.is_chief:
            yield []
            return
        # Not claimed before it is locked: of two that find it free, one would train under the
        # other's configuration.
        with run_dir.locked(self.output):
            yield run_dir.claim(self.output, self.config, self.split.hash, self.manifest.digest())

    def _restore(self) -> int:
        """Restores the newest checkpoint, if there is one, and returns its step."""
        facts = self._store.restore(self.model)
        step = optimizer.steps_done(self.model.optimizer)
        steps = self.devices.gather(step)
        if len(set(steps)) > 1:
            raise ConfigError(
                f"The hosts begin after different steps, {steps}: `--output` must be on a file "
                f"system that all of them see. Received: --output={self.output}"
            )
        self._check_facts(step, facts)
        if facts is None:
            return step
        if facts.get("best_of", self._exported) == self._exported:
            self._best = facts.get("best", self._best)
        if facts["has_teacher"]:
            self.model.begin_semi_supervised(copy_student=False)
        if facts.get("is_best") and self.is_chief:
            # The run may have been killed between writing this checkpoint and keeping it.
            self._store.mark_best(self._store.path(step))
        self._evaluation_due = facts.get("evaluation_due", False)
        return step

    def _check_facts(self, step: int, facts: dict[str, Any] | None) -> None:
        """Refuses flags that do not go with the checkpoint that the run goes on from."""
        setup.check_continues(self.config, step, facts is not None and facts["has_teacher"])
        if facts is not None:
            self._other_weights = setup.check_class_weights(
                self.config, facts.get("class_weights"), self.class_weights
            )

    def _note_start(self, step: int, changes: list[run_dir.Change]) -> None:
        """Records that the run begins or goes on, and with which changed flags."""
        listed = [str(change) for change in changes]
        if self._other_weights and not any(x.name == "--class_weights" for x in changes):
            listed.append(f"contents of --class_weights={self.config.method.class_weights}")
        if listed:
            # First what they were: once the new ones are the run's own, nothing tells any more.
            self._journal.write("changed_flags", step, {"changes": listed})
            run_dir.record(self.output, self.config, self.split.hash, self.manifest.digest())
            print(f"{self.title}: changed flags: {'; '.join(listed)}", file=sys.stderr)
        facts = {"devices": self._device_names(), "versions": versions()}
        self._journal.write("start", step, facts)
        if step:
            print(f"{self.title}: continues after step {step}", file=sys.stderr)

    def _device_names(self) -> list[str]:
        """Names the device of every replica; all hosts have the same."""
        return summary.device_names(self.devices.strategy) * self.devices.cluster.num_workers

    def _train_from(self, step: int, followers: Sequence[keras.callbacks.Callback]) -> None:
        """Runs what is left of the supervised phase, then of the semi-supervised one."""
        config = self.config
        boundary, last = config.first_semi_step, config.training.steps
        hooks = [
            *self._log.callbacks(self.model, step, self._first_batch, followers),
            callbacks.EveryNSteps(1, last, self._after_step),
        ]
        if self._evaluation_due:
            self._after_step(step)
        if step < boundary:
            self._fit(step, boundary - step, hooks)
        if boundary < last and step < last:
            if not self.model.semi_supervised:
                self.model.begin_semi_supervised(copy_student=True)
            step = max(step, boundary)
            self._fit(step, last - step, hooks)
        self._log.end()

    def _batches(self, step: int, worker: pipeline.Worker | None = None) -> tf.data.Dataset:
        """Returns the batches after a step, or one host's rows of them, without an end."""
        supervised = step < self.config.first_semi_step
        make = pipeline.supervised_batches if supervised else pipeline.semi_supervised_batches
        return make(self.data, self.config, step, worker or pipeline.Worker())

    def _fit(self, step: int, steps: int, hooks: list[keras.callbacks.Callback]) -> None:
        served = self.devices.distribute(
            lambda worker, workers: self._batches(step, pipeline.Worker(worker, workers)),
            self.config.labeled_batch_size,
        )
        self.model.fit(served, steps_per_epoch=steps, verbose=0, callbacks=hooks, shuffle=False)
        # Keras also ends where data do, or where a setting of its own says so, and is content.
        reached = optimizer.steps_done(self.model.optimizer)
        if reached != step + steps:
            raise DataError(
                f"{self.title}: training ended after step {reached} in place of {step + steps}: "
                "something outside this program's flags cut it short. Nothing was evaluated or "
                "exported; the same command goes on from the newest checkpoint."
            )

    def _first_batch(self) -> SemiBatch | SupervisedBatch:
        """Returns the batch whose images the pictures show: the method's first."""
        semi = self.config.needs.unlabeled
        return next(iter(self._batches(self.config.first_semi_step if semi else 0)))

    def _after_step(self, step: int) -> None:
        """Evaluates, saves and stops, where it is time to."""
        training, last = self.config.training, step == self.config.training.steps
        evaluates = last or step % training.evaluate_every == 0
        due = evaluates or step % training.checkpoint_every == 0
        if not (due or self._must_stop(step)):
            return
        # A loss that is not finite stops the run here, before its weights are saved.
        self._log.flush(step)
        if self.is_chief:
            done = self._evaluate(step) if evaluates else True
            self._save(step, evaluation_due=not done)
        if not self._must_stop(step):
            return
        reason = self._stop.received.name if self._stop.requested else "another host"
        if self.is_chief:
            self._journal.write("stopped", step, {"signal": reason})
        raise Stopped(
            f"{self.title}: stopped by {reason} after step {step}, which is saved. The same "
            "command goes on from there."
        )

    def _must_stop(self, step: int) -> bool:
        """Whether this process or, at steps that all hosts take together, another was asked to."""
        if self.devices.cluster.num_workers == 1:
            return self._stop.requested
        training = self.config.training
        together = (_AGREE_EVERY, training.checkpoint_every, training.evaluate_every)
        if step != training.steps and all(step % every for every in together):
            return False
        return any(self.devices.gather(int(self._stop.requested)))

    def _evaluate(self, step: int) -> bool:
        """Evaluates student and teacher; returns whether there was time to finish."""
        done = self._validator.run(self._networks(), step, self._stop)
        if done:
            evaluated = self._validator.results.items()
            self._log.scores(step, {name: result.mean_iou() for name, result in evaluated})
        return done

    def _save(self, step: int, evaluation_due: bool) -> None:
        score = self._validator.score(self._exported, step)
        best = score is not None and score > self._best
        self._best = score if best else self._best
        facts = {**self._facts(), "is_best": best, "evaluation_due": evaluation_due}
        path = self._store.save(self.model, facts)
        if best:
            self._store.mark_best(path)

    def _facts(self) -> dict[str, Any]:
        """Returns what a checkpoint has to say about itself."""
        facts = checkpoints.describe(self.model, self.config, self.label_map)
        weights = None if self.class_weights is None else self.class_weights.tolist()
        own = {
            "split": self.split.hash,
            "image_height": self.manifest.image_height(),
            "best": self._best,
            "best_of": self._exported,
            "class_weights": weights,
        }
        return {**facts, **own}

    def _with_evidence(self, error: nonfinite.NonFiniteError) -> nonfinite.NonFiniteError:
        """Writes down the step that went wrong; returns the error with the path in it."""
        # Every batch is a function of the configuration and the step, so none is held for this.
        batch = next(iter(self._batches(error.step - 1)))
        arrays = {}
        if self.model.semi_supervised:
            arrays["thresholds"] = tf.convert_to_tensor(self.model.thresholds).numpy()
        saved = self._store.steps()
        self._journal.write("not_finite", error.step, {"error": str(error)})
        facts = {"config": self.config.to_dict(), "newest_checkpoint": saved[-1] if saved else None}
        return nonfinite.write(self.output, error, batch, arrays, facts)

    def _finish(self) -> results.RunResult:
        """Writes the results and exports the network."""
        if not self._validator.results:
            self._evaluate(self.config.training.steps)
        if self._stop.requested:
            raise Stopped(f"{self.title}: stopped after its last step, which is saved.")
        networks, thresholds = self._networks(), None
        if "teacher" in networks:
            thresholds = tf.convert_to_tensor(self.model.thresholds).numpy()
        result = results.write(
            self.output,
            networks,
            self._validator.results,
            self.label_map,
            data_dir=self.config.data.data,
            exported=self._exported,
            source={
                "checkpoint": os.path.abspath(self.output),
                "weights": self._exported,
                "step": self.config.training.steps,
                "config": self.config.to_dict(),
                "data": self.manifest.digest(),
                "split": self.split.hash,
                "image_height": self.manifest.image_height(),
            },
            thresholds=thresholds,
        )
        self._journal.write("finished", self.config.training.steps)
        return result

    def _networks(self) -> dict[str, keras.Model]:
        """Returns the networks of the run as they are evaluated and exported."""
        networks = {"student": self._full.of(self.model.student)}
        if self.model.semi_supervised and self.model.teacher is not None:
            networks["teacher"] = self._full.of(self.model.teacher)
        return networks
