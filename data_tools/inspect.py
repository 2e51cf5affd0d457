"""Shows what a converted data set holds: counts, sizes, class frequencies, images with labels.

python -m data_tools.inspect --data=data/cityscapes --output=sheet.png
"""

import io

from absl import flags

from c3tf import cli
from c3tf.data import manifest as manifests
from c3tf.errors import UserError
from c3tf.io import files, writable
from data_tools.conversion import description, inspection, inspection_page

FLAGS = flags.FLAGS
_KINDS = (".png", ".html")


def main() -> None:
    """Describes the data set the flags name."""
    output = FLAGS.output
    if output and not output.endswith(_KINDS):
        raise UserError(f"--output must end in {' or '.join(_KINDS)}. Received: --output={output}")
    if output:
        writable.check_file(output, remote=True)
    manifest = manifests.verify(FLAGS.data)
    unknown = [split for split in FLAGS.split if split not in manifest.splits]
    if unknown:
        raise UserError(
            f"--split must name a split of {FLAGS.data}: {', '.join(manifest.splits)}. "
            f"Received: --split={unknown[0]}"
        )
    print(description.text(manifest))
    if not output:
        return
    chosen = FLAGS.split or list(manifest.splits)
    picked = {split: inspection.pick(manifest, split, FLAGS.images) for split in chosen}
    if output.endswith(".html"):
        files.write_text(output, inspection_page.page(manifest, picked))
    else:
        buffer = io.BytesIO()
        inspection.sheet(manifest, picked).save(buffer, "PNG")
        files.write_bytes(output, buffer.getvalue())
    print(f"written to {output} ({files.size(output) / 1e6:.1f} MB)")


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "Directory of the converted data set.", required=True)
    flags.DEFINE_string("output", "", "PNG or HTML file to draw images with their labels into.")
    flags.DEFINE_multi_string("split", [], "Split to draw; may be repeated. All when absent.")
    flags.DEFINE_integer("images", 8, "Images to draw per split.", lower_bound=1, upper_bound=500)
    cli.run(main)
