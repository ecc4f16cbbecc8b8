"""The numbers of every baseline's config against those of its authors' code, by value.

The rates are those that the schedulers give, not those that a config says.
"""
import math
import re
from typing import NamedTuple, Optional, Tuple

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from mmengine.config import Config
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope
from torch import nn

from mmwamim.registry import OPTIM_WRAPPER_CONSTRUCTORS
from tests.support.commands import ROOT

FOLDER = ROOT / 'configs/baselines'
STEPS = 5  # an epoch
NO_CLIP = None
CROP_FLIP = ('LoadImage', 'RandomCropToTensor 224 0.2')
WHOLE = ('LoadImage', 'ResizeEdge 224', 'RandomCrop 224 4 reflect', 'RandomFlip', 'PackInputs')
VIEW = 'RandomResizedCrop {} {} RandomFlip ColorJitter RandomGrayscale GaussianBlur Solarize'


class Recipe(NamedTuple):
    """One row: ``base`` is the rate per ``per`` images, ``low`` that of the end for all of a batch;
    ``decays`` are parts of names that decay besides matrices, of those in NAMES."""
    batch: int
    base: float
    per: int
    low: float
    warmup: int
    epochs: int
    betas: Tuple[float, float]
    decay: float
    clip: Optional[float]
    decays: str
    augmentation: Tuple[str, ...]
    steps_at: Tuple[int, ...] = ()

    def rate(self, epoch: float) -> float:
        """The official schedule behind the warm-up."""
        peak = self.base * self.batch / self.per
        if self.steps_at:
            return peak * 0.1**sum(epoch >= step for step in self.steps_at)
        progress = (epoch - self.warmup) / (self.epochs - self.warmup)
        return self.low + (peak - self.low) * (1 + math.cos(math.pi * progress)) / 2


BEIT_VIEW = 'RandomFlip RandomResizedCropAndInterpolationWithTwoPic 224 0.08 BEiTMaskGenerator {}'
# What the configs leave trainable of it: the others are fixed in the models.
ALL = 'pos_embed cls_token mask_token relative_position_bias_table'
MAE = Recipe(4096, 1.5e-4, 256, 0., 40, 1600, (0.9, 0.95), 0.05, NO_CLIP, ALL, CROP_FLIP)
MFM = Recipe(2048, 3e-4, 512, 1e-5, 20, 300, (0.9, 0.95), 0.05, 3., '', CROP_FLIP)
LOCALMIM = Recipe(2048, 2e-4, 256, 1e-6, 10, 100, (0.9, 0.95), 0.05, NO_CLIP, '', CROP_FLIP)
OFFICIAL = dict(
    beit_vit_b_800e=Recipe(
        2048, 1.5e-3, 2048, 1e-5, 10, 800, (0.9, 0.999), 0.05, 3.,
        'mask_token relative_position_bias_table',
        ('LoadImage', 'ColorJitter', *BEIT_VIEW.format(75).split(' ', 1), 'PackInputs')),
    cae_vit_b_800e=Recipe(
        2048, 1.5e-3, 2048, 1e-5, 20, 800, (0.9, 0.999), 0.05, 3.,
        'mask_token relative_position_bias_table',
        ('LoadImage', *BEIT_VIEW.format(98).split(' ', 1), 'PackInputs')),
    greenmim_swin_b_800e=Recipe(
        2048, 1.5e-4, 256, 0., 40, 800, (0.9, 0.95), 0.05, NO_CLIP, '', CROP_FLIP),
    localmim_swin_b_100e=LOCALMIM._replace(base=1e-4, low=0.),
    localmim_vit_b_100e=LOCALMIM,
    ibot_vit_b_400e=Recipe(
        1024, 5e-4, 256, 1e-6, 10, 400, (0.9, 0.999), 0.04, 3.,
        ALL,
        ('LoadImage', VIEW.format(224, 0.25), VIEW.format(224, 0.25), VIEW.format(96, 0.05),
         'PackInputs')),
    mae_vit_b_1600e=MAE,
    mae_vit_s_300e=MAE._replace(epochs=300),
    mae_efficient_vit_b_100e=MAE._replace(warmup=10, epochs=100),  # reconstructed
    crossmae_vit_b_800e=MAE._replace(base=1.5e-4 / 3, epochs=800),
    mff_vit_b_800e=MAE._replace(epochs=800, augmentation=WHOLE),
    pixmim_vit_b_800e=MAE._replace(epochs=800, augmentation=WHOLE),
    maskfeat_vit_b_1600e=Recipe(
        2048, 2e-4, 256, 8e-6, 30, 1600, (0.9, 0.999), 0.05, 0.02, 'pos_embed cls_token',
        ('LoadImage', 'RandomResizedCrop 224 0.5', 'RandomFlip', 'BEiTMaskGenerator 78',
         'PackInputs')),
    mfm_vit_b_300e=MFM,
    mfm_vit_s_300e=MFM,
    mocov3_vit_b_600e=Recipe(
        4096, 1.5e-4, 256, 0., 40, 300, (0.9, 0.999), 0.1, NO_CLIP,
        f'{ALL} bias norm',
        ('LoadImage',
         *2 * ('RandomResizedCrop 224 0.08 ColorJitter RandomGrayscale GaussianBlur Solarize '
               'RandomFlip', ), 'PackInputs')),
    simmim_swin_b_192_800e=Recipe(
        2048, 1e-4, 512, 4e-5, 10, 800, (0.9, 0.999), 0.05, 5., '',
        ('LoadImage', 'RandomResizedCrop 192 0.67', 'RandomFlip', 'SimMIMMaskGenerator 0.6',
         'PackInputs'), steps_at=(700, )),
)
FILES = sorted(path.stem for path in FOLDER.glob('*.py'))
NAMES = ('pos_embed', 'cls_token', 'mask_token', 'relative_position_bias_table')


class Parts(nn.Module):
    """A matrix and one parameter of each kind that recipes treat apart."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)
        for name in NAMES:
            self.register_parameter(name, nn.Parameter(torch.zeros(1, 2, 4)))


def load(name):
    init_default_scope('mmpretrain')
    return Config.fromfile(FOLDER / f'{name}.py')


def build_optimizer(cfg):
    wrapper = cfg.optim_wrapper.copy()
    wrapper.update(type='OptimWrapper')
    wrapper.pop('dtype', None)
    wrapper.pop('loss_scale', None)
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(dict(
        type=wrapper.pop('constructor'), paramwise_cfg=wrapper.pop('paramwise_cfg', None),
        optim_wrapper_cfg=wrapper))
    model = Parts()
    return model, constructor(model)


def schedule(cfg, field='lr'):
    """The value of every step of the run, of the group that decays."""
    _, wrapper = build_optimizer(cfg)
    group = next(group for group in wrapper.optimizer.param_groups if group['weight_decay'])
    schedulers = [PARAM_SCHEDULERS.build(dict(one), default_args=dict(
        optimizer=wrapper, epoch_length=STEPS)) for one in map(dict, cfg.param_scheduler)]
    values = []
    for _ in range(cfg.train_cfg.max_epochs * STEPS):
        values.append(group[field])
        for scheduler in schedulers:
            scheduler.step()
    return values


def describe(transform):
    """A transform's name with the numbers that recipes set."""
    if isinstance(transform, list):
        return ' '.join(map(describe, transform))
    if 'transforms' in transform:
        return describe(list(transform['transforms']))
    words = [transform['type'].rpartition('.')[2]]
    words += [str(transform[key]) for key in (
        'size', 'num_masking_patches', 'mask_ratio', 'crop_size', 'padding', 'padding_mode',
        'erase_prob') if key in transform]
    words += [str(transform['scale'])] if isinstance(transform.get('scale'), int) else []
    crop = transform.get('crop_ratio_range') or transform.get('scale')
    words += [str(crop[0])] if isinstance(crop, (tuple, list)) else []
    return ' '.join(words)


def augmentation(cfg):
    views = []
    for transform in cfg.train_dataloader.dataset.pipeline:
        several = transform['type'].endswith('MultiView')
        views += [describe(view) for view in transform['transforms']] if several else [
            describe(transform)]
    return views


@pytest.mark.parametrize('name', OFFICIAL)
def test_schedule(name):
    cfg, official = load(name), OFFICIAL[name]
    assert cfg.train_cfg.max_epochs == official.epochs
    assert cfg.auto_scale_lr.base_batch_size == official.batch
    rates, warm = schedule(cfg), official.warmup * STEPS
    peak = official.base * official.batch / official.per
    assert max(rates) == pytest.approx(peak)
    assert rates[0] < 0.01 * peak and rates[warm // 2] == pytest.approx(peak / 2, rel=0.05)
    assert rates[warm - 2] < peak and rates[warm] == pytest.approx(peak, rel=1e-3)
    for share in (0.25, 0.5):
        epoch = int(share * official.epochs)
        assert rates[epoch * STEPS] == pytest.approx(official.rate(epoch), rel=1e-2), share
    for step in official.steps_at:
        assert rates[step * STEPS] == pytest.approx(0.1 * rates[step * STEPS - 1])
    assert rates[-1] == pytest.approx(official.rate(official.epochs), abs=1e-4 * peak)


@pytest.mark.parametrize('name', OFFICIAL)
def test_optimizer(name):
    cfg, official = load(name), OFFICIAL[name]
    model, wrapper = build_optimizer(cfg)
    groups = wrapper.optimizer.param_groups
    assert {group['betas'] for group in groups} == {official.betas}
    assert (wrapper.clip_grad_kwargs or {}).get('max_norm') == official.clip
    decays = {id(p): group['weight_decay'] for group in groups for p in group['params']}
    assert decays[id(model.linear.weight)] == pytest.approx(official.decay)
    kinds = dict(bias=model.linear.bias, norm=model.norm.weight,
                 **{name: getattr(model, name) for name in NAMES})
    found = {kind for kind, parameter in kinds.items() if decays[id(parameter)] > 0}
    assert found == set(official.decays.split())


@pytest.mark.parametrize('name', OFFICIAL)
def test_augmentation(name):
    wanted = ' '.join(OFFICIAL[name].augmentation)
    assert ' '.join(augmentation(load(name))) == wanted


def test_ibots_weight_decay_rises_by_a_cosine():
    values = schedule(load('ibot_vit_b_400e'), 'weight_decay')
    for share, wanted in ((0., 0.04), (0.25, 0.4 - 0.36 * (1 + math.sqrt(0.5)) / 2), (0.5, 0.22)):
        assert values[int(share * len(values))] == pytest.approx(wanted, rel=1e-2)
    assert values[-1] == pytest.approx(0.4, rel=1e-3)
    cfg = load('ibot_vit_b_400e')
    _, wrapper = build_optimizer(cfg)
    assert any(group['weight_decay'] == 0 for group in wrapper.optimizer.param_groups)


@pytest.mark.parametrize('name', FILES)
def test_documented_commands_have_all_arguments(name):
    text = re.sub(r'\\\n\s+', '', (FOLDER / f'{name}.py').read_text())
    command = re.search(r'^Run: +(.*)$', text, re.MULTILINE)[1].split()
    words = [word for word in command if '=' not in word]
    script, arguments = words[0], words[1:]
    usage = (ROOT / script).read_text()
    least = int(re.search(r'\[ \$# -ge (\d+) \]', usage)[1])
    assert len(arguments) >= least
    assert f'configs/baselines/{name}.py' in arguments


# Of the encoder, at its last block.
DROP_PATH = dict.fromkeys(FILES, 0.) | dict(
    beit_vit_b_800e=0.1, cae_vit_b_800e=0.1, ibot_vit_b_400e=0.1)


@pytest.mark.parametrize('name', FILES)
def test_paths_are_dropped_where_they_were(name):
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=16)
    if 'swin' in name:
        arch = dict(embed_dims=16, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2])
    backbone = MODELS.build(dict(load(name).model.backbone, arch=arch, out_indices=(1, )))
    rates = [part.drop_prob for part in backbone.modules() if isinstance(part, DropPath)]
    assert rates and max(rates) == pytest.approx(DROP_PATH[name])


def test_every_baseline_has_its_row():
    assert sorted(OFFICIAL) == [name for name in FILES if name != 'localmim_vit_s_300e']


def test_localmim_swin_decodes_on_its_own_grids():
    model = MODELS.build(load('localmim_swin_b_100e').model)
    assert model.target_generator.grid_strides == (8, 16, 32, 32)
    assert model.target_generator.channels == (54, ) * 4
    for level, width in zip(model.neck.levels, (64, 128, 128, 128), strict=True):
        assert isinstance(level.resize, nn.Identity) and level.feature_stride == level.target_stride
        assert level.embed_dims == width and level.block.attn.num_heads == 4
    assert list(model.head.loss_weights) == [1.] * 4
