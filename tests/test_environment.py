"""What is said where MMEngine and its like are missing, too old, or there twice."""
import subprocess
import sys

import pytest

from mmwamim import environment
from mmwamim.engine.config.check import check_config
from mmwamim.engine.config.reading import read_config
from mmwamim.environment import check_environment, installed, problems
from mmwamim.errors import UserError
from tests.support.commands import ROOT


def distribution(site, name, version):
    info = site / f'{name.replace("-", "_")}-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')


@pytest.fixture
def nothing_installed(monkeypatch):
    def version(name):
        raise environment.PackageNotFoundError(name)
    monkeypatch.setattr(environment, 'version', version)
    monkeypatch.setattr(environment, 'find_spec', lambda name: None)


def test_here_nothing_is_wrong():
    assert problems() == ([], []) and set(installed('mmcv')) == {'onedl-mmcv'}


def test_what_is_missing_is_named_with_both_ways_to_get_it(nothing_installed):
    with pytest.raises(ImportError) as error:
        check_environment()
    for words in ('mmengine, mmcv, mmpretrain', 'mmwamim[onedl]', 'mmwamim[openmmlab]'):
        assert words in str(error.value)


@pytest.mark.parametrize('name, other', [('onedl-mmengine', 'mmengine'), ('onedl-mmcv', 'mmcv'),
                                         ('onedl-mmpretrain', 'mmpretrain')])
def test_two_distributions_of_one_module(tmp_path, name, other):
    distribution(tmp_path, other, '3.0.0')
    code = 'import warnings; warnings.simplefilter("always"); import mmwamim.registry'
    done = subprocess.run([sys.executable, '-c', code], text=True, cwd=ROOT, capture_output=True,
                          env={'PYTHONPATH': f'{tmp_path}:{ROOT}'})
    assert done.returncode == 0
    assert f'pip uninstall -y {name} {other}' in done.stderr


def test_a_version_that_is_too_old(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, 'version', lambda name: '0.9.0')
    errors, _ = problems()
    assert "pip install -U 'onedl-mmengine>=0.10.12'" in ''.join(errors)


@pytest.mark.parametrize('config, missing, extra', [
    ('configs/detection/mask_rcnn_swin_b_fpn_3x_coco.py', 'mmdet', 'mmwamim[det]'),
    ('configs/segmentation/upernet_vit_b_160k_ade20k_512x512.py', 'mmseg', 'mmwamim[seg]')])
def test_a_config_of_a_toolbox_that_is_not_there(monkeypatch, config, missing, extra):
    cfg = read_config(ROOT / config)
    monkeypatch.setattr(environment, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=f'default_scope: {missing} is not installed.*pip install'
                       ) as error:
        check_config(cfg)
    assert extra in str(error.value)
    cfg.default_scope = 'mmpretrain'
    cfg.model.type = f'{missing}.{cfg.model.type}'
    with pytest.raises(UserError, match=f'model.type: {missing} is not installed'):
        check_config(cfg)


def test_wavelets_need_none_of_it():
    code = ('import sys; import mmwamim.wavelets; '
            'print([name for name in ("mmengine", "mmcv", "mmpretrain") if name in sys.modules])')
    done = subprocess.run([sys.executable, '-c', code], text=True, cwd=ROOT, capture_output=True)
    assert done.stdout.strip() == '[]', done.stderr
