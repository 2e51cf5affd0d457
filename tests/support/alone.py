"""Code for a process that must do without this project and without other packages."""

_PRELUDE = """
import sys

HIDDEN = {hidden!r}

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HIDDEN:
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
for name in HIDDEN:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(f"{{name}} can be imported")
"""


def without(*packages: str) -> str:
    """Returns what to put before the code of a process, to which packages then look absent."""
    return _PRELUDE.format(hidden=packages)


PRELUDE = without("c3tf", "keras", "tf_keras", "keras_cv")
