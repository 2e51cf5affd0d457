"""The command `c3tf`, which runs all others: `c3tf train --flagfile=configs/demo.flags`."""

import sys

from c3tf import cli, versions

# By what the user types: the module, and what it is for.
COMMANDS = {
    "train": ("c3tf.train", "train a network, and the supervised baseline beside it"),
    "preview": ("c3tf.preview", "draw what the networks will see in training"),
    "evaluate": ("c3tf.evaluate", "measure a run, a checkpoint or an export on a labeled split"),
    "predict": ("c3tf.predict", "predict image files, and draw what was predicted"),
    "suggest": ("c3tf.suggest", "suggest which photos to label next"),
    "export": ("c3tf.export", "write a SavedModel, a Keras archive or TensorFlow Lite files"),
    "report": ("c3tf.report", "report on runs in one HTML page"),
    "networks": ("c3tf.networks", "list the backbones and heads, and what they cost"),
    "tables": ("c3tf.tables", "train what tables of runs are made of, and write the tables"),
}
DATA_COMMANDS = {
    "cityscapes": ("data_tools.cityscapes", "convert Cityscapes"),
    "bdd100k": ("data_tools.bdd100k", "convert BDD100K"),
    "camvid": ("data_tools.camvid", "convert CamVid"),
    "folder": ("data_tools.folder", "convert your own images and masks"),
    "polygons": ("data_tools.polygons", "draw masks from annotation tools' files"),
    "street_scenes": ("data_tools.street_scenes", "draw the street scenes of the demo"),
    "splits": ("data_tools.splits", "draw and list a labeled/unlabeled split"),
    "inspect": ("data_tools.inspect", "show on one page what a data set holds"),
    "verify": ("data_tools.verify", "read a whole data set again and check it"),
    "convert_weights": ("data_tools.convert_weights", "convert a PyTorch checkpoint's backbone"),
}
_HELP = ("-h", "--help", "--helpshort", "--helpfull")


def main() -> None:
    """Runs the command that the first word names, or says which there are."""
    words, program, commands = sys.argv[1:], "c3tf", COMMANDS
    if words[:1] == ["data"]:
        words, program, commands = words[1:], "c3tf data", DATA_COMMANDS
    if words[:1] == ["--version"]:
        print(f"c3tf {versions.VERSION}")
    elif not words or words[0] in _HELP:
        print(overview(program, commands))
    elif words[0] in commands:
        cli.run_module(commands[words[0]][0], f"{program} {words[0]}", words[1:])
    else:
        known = ", ".join([*commands, *(["data"] if commands is COMMANDS else [])])
        print(f"{program}: error: must be one of {known}. Received: {words[0]}", file=sys.stderr)
        sys.exit(cli.EXIT_USER_ERROR)


def overview(program: str, commands: dict[str, tuple[str, str]]) -> str:
    """Lists commands, each with what it is for."""
    listed = {name: purpose for name, (_, purpose) in commands.items()}
    if commands is COMMANDS:
        listed["data"] = "convert, draw, inspect and verify data sets; `c3tf data` lists how"
    width = max(map(len, listed)) + 2
    first = "c3tf train --flagfile=configs/demo.flags"
    if commands is DATA_COMMANDS:
        first = "c3tf data cityscapes --source=FOLDER --output=data/cityscapes"
    return "\n".join(
        [
            f"Usage: {program} COMMAND --flag=value ...",
            "",
            *(f"  {name:<{width}}{purpose}" for name, purpose in listed.items()),
            "",
            f"`{program} COMMAND -h` shows a command's flags. To begin with: {first}",
        ]
    )


if __name__ == "__main__":
    main()
