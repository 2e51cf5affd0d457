"""Lists the backbones and what they cost under either head.

python -m c3tf.networks --backbone=efficientnet_lite0 --backbone=resnet50 --latency_runs=5

Builds each with random weights and prints a table in Markdown: channels, strides, parameters,
multiply-accumulate operations of the convolutions for one image, and where ImageNet weights come
from. With `--latency_runs` also the time of an image on this machine.
"""

from absl import flags

from c3tf import cli
from c3tf.config.networks import BACKBONES

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_multi_enum("backbone", None, list(BACKBONES), "Which ones; all by default.")
    flags.DEFINE_integer("height", 256, "Height of the image.", lower_bound=32)
    flags.DEFINE_integer("width", 512, "Width of the image.", lower_bound=32)
    flags.DEFINE_integer("classes", 19, "Number of classes.", lower_bound=1)
    flags.DEFINE_enum("output_stride", "16", ["8", "16"], "Where the backbone can.")
    flags.DEFINE_integer("latency_runs", 0, "Images to time; 0 for none.", lower_bound=0)


def main() -> None:
    """Prints the table."""
    from c3tf.nets import survey

    size, stride = (FLAGS.height, FLAGS.width), int(FLAGS.output_stride)
    rows = [
        survey.survey(name, FLAGS.classes, size, stride, FLAGS.latency_runs)
        for name in FLAGS.backbone or BACKBONES
    ]
    print(survey.markdown(rows))


if __name__ == "__main__":
    define_flags()
    cli.run(main)
