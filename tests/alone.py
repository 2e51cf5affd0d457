"""Code for a process that must do without this project and without Keras."""

# Put before the code of the process: these packages then look as if they were not installed.
PRELUDE = """
import sys

HIDDEN = ("c3tf", "keras", "tf_keras", "keras_cv")

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
    raise AssertionError(f"{name} can be imported")
"""
