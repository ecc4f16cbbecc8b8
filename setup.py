"""Packaging. Configs and tools travel as ``mmwamim/.mim``, as in every OpenMMLab package."""
import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM = ('configs', 'tools', 'model-index.yml')


def version() -> str:
    scope: dict = {}
    exec((ROOT / 'mmwamim/version.py').read_text(), scope)
    return scope['__version__']


def requirements(name: str) -> list:
    lines = (ROOT / 'requirements' / name).read_text().splitlines()
    wanted = [line.strip() for line in lines if line.strip() and line[0] not in '#-']
    return [line for line in wanted if not line.startswith(('setuptools', 'wheel'))]


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


setup(
    name='mmwamim',
    version=version(),
    description='Wavelet-driven masked image modeling for OpenMMLab',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mmwamim', 'mmwamim.*']),
    package_data={'mmwamim': ['py.typed'], 'mmwamim.evaluation': ['*.txt']},
    python_requires='>=3.10',
    install_requires=requirements('pretrain.txt'),
    cmdclass={'build_py': BuildWithMim},
)
