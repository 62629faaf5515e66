"""The notebooks and the sample travel inside the wheel; everything else is in pyproject.toml."""
from pathlib import Path
from shutil import copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = {"nbs/pipeline": "notebooks/pipeline", "nbs/app": "notebooks/app", "data/sample": "sample"}


class BuildWithNotebooks(build_py):
    "Copies what the pipeline runs on beside the modules, so that an installed package needs no checkout"

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for source, target in SHIPPED.items():
            copytree(ROOT / source, Path(self.build_lib, "gradeclass", target), dirs_exist_ok=True,
                     ignore=ignore_patterns(".ipynb_checkpoints", "_proc"))


setup(cmdclass={"build_py": BuildWithNotebooks})
