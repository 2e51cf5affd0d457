"""Names of files: which are a system's own, which say an image, how long one may be."""

import os
from pathlib import PurePosixPath

from c3tf.io import image_bytes

# Of files that say JPEG or PNG.
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".jfif", ".jpe", ".png")

# Bytes of a name, on all file systems in use.
LONGEST = 255
# Files and folders that storage boxes, archives and desktops put among a user's; lower case.
_SYSTEM_NAMES = frozenset(
    (
        *("@eadir", "#recycle", "@recycle", "#snapshot", "@tmp", "lost+found", "__macosx"),
        *("$recycle.bin", "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini"),
        "icon\r",
    )
)


def is_systems(name: str) -> bool:
    """Tells whether a file or folder is one that systems make beside the user's."""
    return name.startswith((".", "~$")) or name.lower() in _SYSTEM_NAMES


def may_be_image(path: str, extensions: tuple[str, ...] = IMAGE_EXTENSIONS) -> bool:
    """Tells whether a file is named as an image, or has no ending and begins as one.

    Args:
        path: the file.
        extensions: endings that do.
    """
    name = PurePosixPath(path).name
    if name.lower().endswith(extensions):
        return True
    if PurePosixPath(name).suffix or not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            kind = image_bytes.kind_of(file.read(image_bytes.LONGEST_BEGINNING))
    except OSError:
        return False
    return kind is not None and f".{kind}" in extensions
