"""The one step of packaging that pyproject.toml cannot say: configs and tools travel as
``mmwamim/.mim``, as in every OpenMMLab package."""
import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """Adds .mim: copied into a wheel, linked in an editable install."""

    def run(self) -> None:
        super().run()
        editable = getattr(self, 'editable_mode', False)
        target = (ROOT if editable else Path(self.build_lib)) / 'mmwamim/.mim'
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in MIM:
            if editable:
                os.symlink(os.path.relpath(ROOT / name, target), target / name)
            elif (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target / name,
                                ignore=shutil.ignore_patterns('__pycache__'))
            else:
                shutil.copy(ROOT / name, target / name)


setup(cmdclass={'build_py': BuildWithMim})
