import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmwamim
from mmwamim import registry
from tests.support.commands import ROOT
from tests.support.small_data import make_classes


def run_elsewhere(code, folder):
    """Runs code in a fresh interpreter, in another folder, with the package on its path."""
    root = str(Path(mmwamim.__file__).resolve().parents[1])
    return subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=folder,
                          env={**os.environ, 'PYTHONPATH': root}, capture_output=True, text=True)


@pytest.mark.parametrize('source', ['mmdet.registry', 'mmengine.registry'])
def test_the_prefix_is_found_without_custom_imports(source, tmp_path):
    done = run_elsewhere(
        f'from {source} import MODELS\n'
        "part = MODELS.build(dict(type='mmwamim.WaveletTargetGenerator', levels=(1, 2)))\n"
        'print(type(part).__module__, part.channels)\n', tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split('\n')[-2] == 'mmwamim.models.targets.wavelet (9, 12)'


def test_every_model_is_registered():
    from mmwamim import models
    for name in ('MaskedViT', 'MultiLevelDecoder', 'MultiLevelMIMHead', 'WaMIM',
                 'WaveletTargetGenerator'):
        assert registry.MODELS.get(f'mmwamim.{name}') is getattr(models, name)


def test_stock_parts_are_found_through_the_parent():
    from mmpretrain.models import VisionTransformer
    assert registry.MODELS.get('mmpretrain.VisionTransformer') is VisionTransformer


@pytest.mark.parametrize('name', ['MODELS', 'TRANSFORMS', 'DATASETS', 'METRICS', 'HOOKS',
                                  'OPTIM_WRAPPER_CONSTRUCTORS', 'VISUALIZERS', 'VISBACKENDS'])
def test_registries_are_children_of_mmengines(name):
    from mmengine import registry as root
    ours = getattr(registry, name)
    assert ours.parent is getattr(root, name)
    assert ours.scope == 'mmwamim'
    assert ours.get('NoSuchThing') is None  # imports the locations: they must exist


def test_a_classifier_is_settled_where_mmdet_and_mmseg_are_missing(tmp_path):
    make_classes(tmp_path / 'pets', 2, 2, 2)
    config = ROOT / 'configs/classification/vit_s_ft_200e.py'
    done = run_elsewhere(
        'import sys\n'
        'sys.modules.update(mmdet=None, mmseg=None)\n'
        'from mmwamim.engine.config.data import settle_data\n'
        'from mmwamim.engine.config.reading import read_config\n'
        f'cfg = read_config({str(config)!r})\n'
        "settle_data(cfg, 'pets', classes=['class0', 'class1'])\n", tmp_path)  # tested
    assert done.returncode == 0, done.stderr
