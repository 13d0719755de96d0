"""Puts the shipped models into the wheel and the source archive; the rest is in pyproject.toml."""

import pathlib
import shutil
import sys

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # Under build isolation the project is not on it.

from tf_deconv.inference.shipped import MODELS, WHEEL_FOLDER  # noqa: E402  Needs no other package.


class BuildWithModels(build_py):
    """`saved_models/NAME` becomes `tf_deconv/shipped_models/NAME`, for the shipped names alone."""

    def run(self):
        super().run()
        if self.editable_mode:
            return  # The checkout's own saved_models is used.
        target = pathlib.Path(self.build_lib, "tf_deconv", WHEEL_FOLDER)
        shutil.rmtree(target, ignore_errors=True)  # Of an earlier build.
        for name in MODELS:
            source = ROOT / "saved_models" / name
            if source.is_dir():
                shutil.copytree(source, target / name, ignore=shutil.ignore_patterns(".*"))
            else:
                print(f"warning: without the model {name}: {source} does not exist")

    def get_source_files(self):
        """Adds the models to the source archive; a MANIFEST.in would have to name them again."""
        return [*super().get_source_files(), *shipped_files()]


def shipped_files():
    """Returns the files of the shipped models, relative to this folder."""
    folders = [ROOT / "saved_models" / name for name in MODELS]
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [path.relative_to(ROOT).as_posix() for path in files]


setup(cmdclass={"build_py": BuildWithModels})
