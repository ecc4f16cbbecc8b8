"""Configs that are not written as ours are: in pure Python, with classes as types."""
import math
import runpy
import sys
from pathlib import Path

import mmpretrain
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmwamim.engine.config.settle import RunOptions
from mmwamim.engine.run import train
from mmwamim.engine.training.measure import build_step
from mmwamim.errors import UserError
from mmwamim.visualization import read_scalars
from tests.support.commands import QUICK, ROOT
from tests.support.small_data import make_images

THEIRS = Path(mmpretrain.__file__).parent / '.mim/tools/train.py'
BASE = '''
from mmwamim.models import MaskedViT, MultiLevelDecoder, MultiLevelMIMHead
from mmwamim.models import WaMIM, WaveletTargetGenerator

model = dict(
    type=WaMIM, mask_ratio=0.75, mask_unit=8,
    backbone=dict(
        type=MaskedViT, img_size=32, patch_size=8, out_indices=(0, 1, 2, 3), out_type='raw',
        arch=dict(embed_dims=32, num_layers=4, num_heads=2, feedforward_channels=64)),
    neck=dict(type=MultiLevelDecoder, embed_dims=32, num_heads=2, mlp_ratio=4.),
    head=dict(type=MultiLevelMIMHead, loss_weights=(1., 1., 1., 1.), distance='l2'),
    target_generator=dict(type=WaveletTargetGenerator, levels=(1, 2, 3, 4), generations=5,
                          finer='energy', approximation='all', wavelet='haar', norm='contrast'))
'''
CONFIG = '''
from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmengine.hooks import CheckpointHook, EMAHook, RuntimeInfoHook
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop
from mmpretrain.datasets.transforms import PackInputs, RandomResizedCrop
from torch.optim import AdamW

from mmwamim.datasets import LoadImage, UnlabelledImages, collate_images
from mmwamim.models import ImagePreprocessor

with read_base():
    from .base import *

default_scope = 'mmpretrain'
data_preprocessor = dict(type=ImagePreprocessor, mean=[120] * 3, std=[60] * 3, to_rgb=True)
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=1)
train_dataloader = dict(
    batch_size=2, num_workers=0, collate_fn=dict(type=collate_images),
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(type=UnlabelledImages, data_root='nowhere', pipeline=[
        dict(type=LoadImage), dict(type=RandomResizedCrop, scale=32), dict(type=PackInputs)]))
optim_wrapper = dict(type=OptimWrapper, constructor=DefaultOptimWrapperConstructor,
                     optimizer=dict(type=AdamW, lr=1e-3))
custom_hooks = [dict(type=EMAHook)]
'''
HOOKS = '''
default_hooks = dict(runtime_info=dict(type=RuntimeInfoHook),
                     checkpoint=dict(type=CheckpointHook, interval=1))
'''


def write(folder, text):
    (folder / 'base.py').write_text(BASE)
    (folder / 'config.py').write_text(text)
    return str(folder / 'config.py')


@pytest.mark.parametrize('hooks', [HOOKS, ''])
def test_classes_as_types_train_and_get_our_parts(tmp_path, hooks):
    """Neither has an env_cfg; the second has no default_hooks either."""
    runner = train(RunOptions(write(tmp_path, CONFIG + hooks), work_dir=str(tmp_path / 'work'),
                              data=str(make_images(tmp_path / 'images', 2))))
    assert runner.iter == 1
    assert math.isfinite(runner.message_hub.get_scalar('train/loss').current())
    parts = [runner.train_loop, runner.optim_wrapper, runner.train_dataloader.sampler]
    assert [type(part).__name__ for part in parts] == [
        'ResumableTrainLoop', 'GuardedOptimWrapper', 'ResumableSampler']
    assert {'AtomicCheckpointHook', 'DeferredInfoHook'} <= {
        type(hook).__name__ for hook in runner.hooks}


def test_a_step_is_measured_without_a_scope(tmp_path):
    """MMEngine's own default_scope is None, and so may that of a config be."""
    text = CONFIG.replace("default_scope = 'mmpretrain'", 'default_scope = None')
    assert build_step(Config.fromfile(write(tmp_path, text)), 2).forward().isfinite()


def test_misspelt_field_is_refused(tmp_path):
    text = CONFIG + "model['neck']['embed_dim'] = 32\n"
    with pytest.raises(UserError, match='embed_dim'):
        train(RunOptions(write(tmp_path, text), data=str(make_images(tmp_path / 'images', 2))))


@pytest.mark.skipif(not THEIRS.is_file(), reason='mmpretrain was installed without its tools')
def test_mmpretrains_own_script_trains_our_configs_on_a_cpu(tmp_path, monkeypatch):
    """It settles nothing, so our loop, optimizer wrapper and hooks do without."""
    images = make_images(tmp_path / 'images', 8, 64)
    monkeypatch.setattr(sys, 'argv', [
        'train.py', str(ROOT / QUICK), '--work-dir', str(tmp_path / 'work'), '--cfg-options',
        f'train_dataloader.dataset.data_root={images}', 'train_dataloader.batch_size=4',
        'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
        'train_cfg.max_epochs=1', 'default_hooks.logger.interval=1'])
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        runpy.run_path(str(THEIRS), run_name='__main__')
    assert [math.isfinite(row['loss']) for row in read_scalars(tmp_path / 'work')] == [True] * 2
    assert (tmp_path / 'work/epoch_1.pth').is_file()
    assert (tmp_path / 'work/encoder.pth').is_file()
