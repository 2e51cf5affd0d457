"""JSON files, written whole or not at all."""

import json
import os
from typing import Any

from c3tf.io import files


def write(path: str | os.PathLike, data: Any) -> None:
    """Writes plain data as indented JSON, replacing an existing file.

    Raises:
        ValueError: `data` holds NaN or infinity, which JSON does not know.
    """
    text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    with files.whole(path, durable=True) as file:
        file.write(text.encode())
