"""Exports one network of a run to what production reads: SavedModel, Keras, TensorFlow Lite.

python -m c3tf.export --model=runs/camvid/c3 --weights=teacher --output=exported/camvid
python -m c3tf.export --model=runs/camvid/c3 --output=exported/all --format=saved_model,keras,tflite
"""

import os
from typing import Any

from absl import flags

from c3tf import cli, models
from c3tf.config import parse_size
from c3tf.errors import UserError
from c3tf.io import json_files, run_files, writable
from c3tf.labels import LabelMap
from c3tf.runs import checkpoints, run_dir
from c3tf.serving import model_card, saved_model


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("model", None, "Folder of a run, or one checkpoint.", required=True)
    flags.DEFINE_enum("weights", "student", models.WEIGHTS, "Which of the two networks.")
    flags.DEFINE_string("output", None, "Folder to make.", required=True)
    flags.DEFINE_bool("overwrite", False, "Replace an earlier export at --output.")
    flags.DEFINE_list(
        "format",
        [saved_model.SAVED_MODEL],
        f"What to write: some of {', '.join(saved_model.FORMATS)}.",
    )
    flags.DEFINE_bool("fold", True, "Fold batch norm into the convolutions, which is faster.")
    size = "x".join(map(str, saved_model.TFLITE_SIZE))
    flags.DEFINE_string(
        "tflite_size", None, f"Height x width that the TensorFlow Lite files take [{size}]."
    )
    flags.DEFINE_string(
        "metrics",
        None,
        "Result of c3tf.evaluate for the model card [what the run measured at this step].",
    )


def parse_options(
    formats: list[str], fold: bool, tflite_size: str | None
) -> saved_model.ExportOptions:
    """Reads what `--format`, `--fold` and `--tflite_size` say.

    Raises:
        UserError: a format is unknown, the size is none, or nothing would read it.
    """
    if tflite_size is None:
        return saved_model.ExportOptions(formats, fold)
    if saved_model.TFLITE not in formats:
        raise UserError(
            f"`--tflite_size` needs --format={saved_model.TFLITE}. Received: "
            f"--tflite_size={tflite_size} --format={','.join(formats)}"
        )
    return saved_model.ExportOptions(formats, fold, parse_size("tflite_size", tflite_size))


def export(
    model: str,
    weights: str,
    output: str,
    overwrite: bool = False,
    options: saved_model.ExportOptions | None = None,
    metrics: str | None = None,
) -> None:
    """Exports one network of a run.

    Args:
        model: folder of a run, or one checkpoint.
        weights: one of `models.WEIGHTS`.
        output: folder to make.
        overwrite: replaces an earlier export at `output`.
        options: formats and folding; a SavedModel with folding when absent.
        metrics: file that `c3tf.evaluate` wrote, for the model card; what the run measured of
            this network when absent.

    Raises:
        UserError: the run cannot be read, `metrics` are another network's, or `output` may not be
            written.
    """
    saved_model.check_target(output, overwrite)
    writable.check_folder(output, whole=True)
    models.check_run(model, "--model")
    result = json_files.read(metrics) if metrics else None
    loaded = checkpoints.load_network(model, weights=weights)
    folder = os.path.abspath(model)
    if not os.path.isdir(folder):
        folder = os.path.dirname(os.path.dirname(folder))
    if result is not None:
        _check_result(metrics, result, loaded.label_map, weights, loaded.step)
    else:
        result = _read_if_there(run_dir.evaluation_path(folder, loaded.step, weights))
    facts = _read_if_there(os.path.join(folder, run_files.CONFIG)) or {}
    source = {
        "checkpoint": os.path.abspath(model),
        "weights": weights,
        "step": loaded.step,
        "config": loaded.config,
        "split": loaded.split,
        "data": facts.get("data", ""),
    }
    saved_model.save(
        loaded.model,
        loaded.label_map,
        output,
        source=source,
        metrics=model_card.measured(result) if result else None,
        overwrite=overwrite,
        options=options,
    )


def main() -> None:
    """Runs the command from its flags."""
    values = flags.FLAGS
    options = parse_options(values.format, values.fold, values.tflite_size)
    export(values.model, values.weights, values.output, values.overwrite, options, values.metrics)
    print(f"{', '.join(options.formats)} of the {values.weights} written to {values.output}")


def _read_if_there(path: str) -> dict[str, Any] | None:
    return json_files.read(path) if os.path.exists(path) else None


def _check_result(
    path: str, result: dict[str, Any], label_map: LabelMap, weights: str, step: int
) -> None:
    """Refuses a result that was measured of another network, as far as it says so."""
    protocol = model_card.measured(result)["protocol"]
    names = result.get("label_map", {}).get("class_names")
    if names != list(label_map.class_names):
        raise UserError(f"`--metrics` must be of the exported network's classes. Received: {path}")
    for name, own in (("weights", weights), ("step", step)):
        if protocol.get(name, own) != own:
            raise UserError(
                f"`--metrics` must be measured with {name} {own}. Received: {path}, measured with "
                f"{name} {protocol[name]}"
            )


if __name__ == "__main__":
    define_flags()
    cli.run(main)
