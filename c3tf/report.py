"""Reports on runs in one HTML page.

python -m c3tf.report demo/run --output=report.html
python -m c3tf.report student.json teacher.json baseline.json --output=robustness.html

The words are run directories, the directories right above them, or files that `c3tf evaluate`
wrote, whose calibration and scores on spoiled images are then shown side by side.
"""

from absl import flags

from c3tf import cli
from c3tf.errors import UserError
from c3tf.io import files, writable
from c3tf.reporting import page, robustness, runs


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("output", "report.html", "HTML file to write.")
    flags.DEFINE_string("title", "", "Title of the page [what it reports on].")
    flags.DEFINE_bool("overwrite", False, "Replace an existing --output.")


def main(paths: list[str]) -> None:
    """Writes the page about the runs at some paths.

    Args:
        paths: run directories, the directories right above them, or results of `c3tf.evaluate`.
    """
    values = flags.FLAGS
    if not paths:
        raise UserError(
            "Name at least one run: `python -m c3tf.report RUN... --output=report.html`"
        )
    writable.check_file(values.output, replace=values.overwrite, remote=True)
    measured = [path for path in paths if path.endswith(".json")]
    found = runs.find([path for path in paths if path not in measured])
    loaded = [runs.load(p, name) for p, name in zip(found, runs.short_names(found), strict=True)]
    title = values.title or ("Training report" if loaded else "Evaluation report")
    text = page.render(loaded, title, robustness.read(measured))
    files.write_text(values.output, text)
    counted = f"{len(loaded)} run(s)"
    if measured:
        counted += f" and {len(measured)} result(s)"
    print(f"Report on {counted}: {values.output} ({len(text) / 1e6:.1f} MB)")


if __name__ == "__main__":
    define_flags()
    cli.run(main, arguments_name="RUN")
