"""Exports one network of a run to what production reads: SavedModel, Keras, TensorFlow Lite.

python -m c3tf.export --model=demo/run/c3 --output=exported
python -m c3tf.export --model=runs/camvid/c3 --weights=teacher --output=exported/camvid
python -m c3tf.export --model=runs/camvid/c3 --output=exported/all --format=saved_model,keras,tflite
"""

from absl import flags

from c3tf import cli
from c3tf.config import parse_size
from c3tf.errors import UserError
from c3tf.inference.options import WEIGHTS
from c3tf.serving.options import FORMATS, SAVED_MODEL, TFLITE, TFLITE_SIZE, ExportOptions


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("model", None, "Folder of a run, or one checkpoint.", required=True)
    flags.DEFINE_enum("weights", "student", WEIGHTS, "Which of the two networks.")
    flags.DEFINE_string("output", None, "Folder to make.", required=True)
    flags.DEFINE_bool("overwrite", False, "Replace an earlier export at --output.")
    flags.DEFINE_list(
        "format",
        [SAVED_MODEL],
        f"What to write: some of {', '.join(FORMATS)}.",
    )
    flags.DEFINE_bool("fold", True, "Fold batch norm into the convolutions, which is faster.")
    flags.DEFINE_bool(
        "half", False, "Store the SavedModel's weights in float16: half the size, same speed."
    )
    size = "x".join(map(str, TFLITE_SIZE))
    flags.DEFINE_string(
        "tflite_size", None, f"Height x width that the TensorFlow Lite files take [{size}]."
    )
    flags.DEFINE_string(
        "metrics",
        None,
        "Result of `python -m c3tf.evaluate` for the model card "
        "[what the run measured at this step].",
    )


def parse_options(
    formats: list[str], fold: bool, tflite_size: str | None, half: bool = False
) -> ExportOptions:
    """Reads what `--format`, `--fold`, `--tflite_size` and `--half` say.

    Raises:
        UserError: a format is unknown, the size is none, or nothing would read it.
    """
    if tflite_size is None:
        return ExportOptions(formats, fold, half=half)
    if TFLITE not in formats:
        raise UserError(
            f"`--tflite_size` needs --format={TFLITE}. Received: "
            f"--tflite_size={tflite_size} --format={','.join(formats)}"
        )
    return ExportOptions(formats, fold, parse_size("tflite_size", tflite_size), half)


def main() -> None:
    """Runs the command from its flags."""
    values = flags.FLAGS
    options = parse_options(values.format, values.fold, values.tflite_size, values.half)
    from c3tf import models

    models.export(
        values.model, values.weights, values.output, values.overwrite, options, values.metrics
    )
    print(f"{', '.join(options.formats)} of the {values.weights} written to {values.output}")


if __name__ == "__main__":
    define_flags()
    cli.run(main)
