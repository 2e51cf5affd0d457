"""Exports one network of a run to what production reads: TensorFlow, Keras, LiteRT, ONNX, OpenVINO.

python -m c3tf.export --model=demo/run/c3 --output=exported
python -m c3tf.export --model=runs/camvid/c3 --weights=teacher --output=exported/camvid
python -m c3tf.export --model=runs/camvid/c3 --output=exported/all --format=saved_model,keras,onnx
"""

from absl import flags

from c3tf import cli
from c3tf.config import parse_size
from c3tf.inference.options import WEIGHTS
from c3tf.serving.options import (
    FORMATS,
    LITERT,
    LITERT_SIZE,
    QUANTIZATIONS,
    SAVED_MODEL,
    SIZED,
    ExportOptions,
)


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
    size = "x".join(map(str, LITERT_SIZE))
    flags.DEFINE_string(
        "size",
        None,
        f"Height x width that files of {', '.join(SIZED)} take [{LITERT}: {size}; others: any].",
    )
    flags.DEFINE_enum(
        "quantize", None, QUANTIZATIONS, f"One more {LITERT} file, which computes in integers."
    )
    flags.DEFINE_string(
        "representative", None, "Data set whose training images give the integers' ranges."
    )
    flags.DEFINE_string(
        "metrics",
        None,
        "Result of `python -m c3tf.evaluate` for the model card "
        "[what the run measured at this step].",
    )


def parse_options(
    formats: list[str],
    fold: bool,
    size: str | None,
    half: bool = False,
    quantize: str | None = None,
    representative: str | None = None,
) -> ExportOptions:
    """Reads what the flags of these names say, `--format` and `--fold` among them.

    Raises:
        UserError: a format is unknown or cannot be written here, the size is none, or nothing
            would read a flag.
    """
    sides = None if size is None else parse_size("size", size)
    return ExportOptions(formats, fold, sides, half, quantize, representative)


def main() -> None:
    """Runs the command from its flags."""
    values = flags.FLAGS
    options = parse_options(
        values.format,
        values.fold,
        values.size,
        values.half,
        values.quantize,
        values.representative,
    )
    from c3tf import models

    models.export(
        values.model, values.weights, values.output, values.overwrite, options, values.metrics
    )
    print(f"{', '.join(options.formats)} of the {values.weights} written to {values.output}")


if __name__ == "__main__":
    define_flags()
    cli.run(main)
