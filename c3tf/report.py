"""Reports on runs in one HTML page.

python -m c3tf.report demo/run --output=report.html

The words are run directories, or the directories right above them.
"""

from absl import flags

from c3tf import cli
from c3tf.errors import UserError
from c3tf.io import files, writable
from c3tf.reporting import page, runs


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("output", "report.html", "HTML file to write.")
    flags.DEFINE_string("title", "Training report", "Title of the page.")
    flags.DEFINE_bool("overwrite", False, "Replace an existing --output.")


def main(paths: list[str]) -> None:
    """Writes the page about the runs at some paths.

    Args:
        paths: run directories, or the directories right above them.
    """
    values = flags.FLAGS
    if not paths:
        raise UserError(
            "Name at least one run: `python -m c3tf.report RUN... --output=report.html`"
        )
    writable.check_file(values.output, replace=values.overwrite, remote=True)
    found = runs.find(paths)
    loaded = [runs.load(p, name) for p, name in zip(found, runs.short_names(found), strict=True)]
    text = page.render(loaded, values.title)
    files.write_text(values.output, text)
    print(f"Report on {len(loaded)} run(s): {values.output} ({len(text) / 1e6:.1f} MB)")


if __name__ == "__main__":
    define_flags()
    cli.run(main, arguments_name="RUN")
