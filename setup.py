"""The part of the build that pyproject.toml cannot say: experiment files travel in the package."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copies configs/, which people edit at the top of the repository, to c3tf/_configs."""

    def run(self) -> None:
        """Builds the packages, then copies."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "c3tf", "_configs")
            shutil.copytree("configs", target, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithConfigs})
