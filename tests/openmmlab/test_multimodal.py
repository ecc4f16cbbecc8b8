"""mmpretrain with a transformers that breaks its models of text and images."""
import subprocess
import sys

import pytest

from tests.support.commands import ROOT


def run(code, site):
    return subprocess.run([sys.executable, '-W', 'ignore', '-c', code], text=True, cwd=ROOT,
                          capture_output=True, env={'PYTHONPATH': f'{site}:{ROOT}'})


@pytest.fixture
def site(tmp_path):
    (tmp_path / 'transformers.py').write_text('PreTrainedModel = None\n')
    info = tmp_path / 'transformers-5.1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: transformers\nVersion: 5.1.0\n')
    return tmp_path


def test_alone_mmpretrain_cannot_be_imported_with_us_it_can(site):
    pytest.importorskip('pycocotools')
    assert run('import mmpretrain.models', site).returncode != 0
    for modules in ('mmwamim, mmpretrain.models', 'mmpretrain, mmwamim, mmpretrain.models'):
        done = run(f'import {modules}; '
                   'print(mmpretrain.models.build_backbone, mmwamim.__version__)', site)
        assert done.returncode == 0, done.stderr
