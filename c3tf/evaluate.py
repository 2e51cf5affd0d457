"""Measures a run, a checkpoint or a SavedModel on a labeled split.

python -m c3tf.evaluate --model=runs/camvid --data=data/camvid
"""

import os

from absl import flags

from c3tf import cli, loading
from c3tf.data import manifest, validation
from c3tf.errors import UserError
from c3tf.evaluation import writers
from c3tf.evaluation.evaluator import EvaluationResult, evaluate
from c3tf.progress import Progress


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "model", None, "Folder of a run, a checkpoint, or a SavedModel.", required=True
    )
    flags.DEFINE_string("data", None, "Folder of a data set that a converter made.", required=True)
    flags.DEFINE_string("split", "val", "Split of the data set; all its images need labels.")
    flags.DEFINE_enum("weights", None, loading.WEIGHTS, "Which network of a checkpoint [student].")
    flags.DEFINE_integer(
        "batch_size", 1, "Images at once; more than one needs images of one size.", lower_bound=1
    )
    flags.DEFINE_string("output", None, "JSON file to write the result to.")
    flags.DEFINE_bool("overwrite", False, "Replace an existing --output.")


def evaluate_split(
    model: str, data: str, split: str, weights: str | None, batch_size: int
) -> EvaluationResult:
    """Evaluates what `--model` names on one split of a data set.

    Raises:
        UserError: model or data cannot be used, or their classes differ.
    """
    dataset_manifest = manifest.verify(data)
    opened = loading.open_model(model, weights)
    if opened.label_map.class_names != dataset_manifest.label_map.class_names:
        raise UserError(
            f"{model} knows the classes {', '.join(opened.label_map.class_names)}, but "
            f"{data} is labeled with {', '.join(dataset_manifest.label_map.class_names)}."
        )
    names = dataset_manifest.names(split)
    return evaluate(
        opened.predict,
        validation.val_dataset(data, split, batch_size),
        opened.label_map,
        names=names,
        protocol={**opened.source, "data": data, "split": split},
        progress=Progress(len(names), "images"),
    )


def main() -> None:
    """Runs the command from its flags."""
    values = flags.FLAGS
    if values.output and os.path.exists(values.output) and not values.overwrite:
        raise UserError(f"{values.output} exists. Give another --output, or add --overwrite.")
    result = evaluate_split(
        values.model, values.data, values.split, values.weights, values.batch_size
    )
    print(result.table())
    print(f"{result.images} images of {values.data}, split {values.split}")
    if values.output:
        writers.write_json(values.output, result.to_json())
        print(f"Result written to {values.output}")


if __name__ == "__main__":
    define_flags()
    cli.run(main)
