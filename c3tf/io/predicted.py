"""Folders of predictions, which no search for photographs enters."""

import os

from c3tf.errors import UserError
from c3tf.io import files, json_files

# Lies beside the folders of a prediction's formats; says what their files were predicted with.
RECORD_FILE = "prediction.json"
# A record has them beside its settings; a file of that name by another program has not.
_OURS = frozenset(("images_in", "since", "complete"))


def folders(parent: str | os.PathLike) -> frozenset[str]:
    """Returns the names of the folders in `parent` that a record there says to hold predictions."""
    try:
        record = json_files.read(files.join(os.fspath(parent), RECORD_FILE))
        if not record.keys() >= _OURS:
            return frozenset()
        # Those of formats that an earlier prediction had and the last one has not.
        return frozenset((*record["settings"]["format"], *record.get("older", ())))
    except (UserError, LookupError, TypeError):
        return frozenset()
