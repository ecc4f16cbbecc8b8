"""Fine-tuning and probing as the authors of the baselines did: their numbers, by value."""
import math
from typing import NamedTuple, Optional

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, PARAM_SCHEDULERS, DefaultScope, init_default_scope
from mmengine.structures import PixelData
from mmpretrain.models import VisionTransformer
from mmseg.structures import SegDataSample
from PIL import Image

from mmwamim.engine.config.step import settle_precision
from mmwamim.engine.export.arrival import compare
from tests.support.commands import ROOT
from tests.support.models import noise, shake
from tests.test_baseline_recipes import augmentation

STEPS = 5  # an epoch
VIT = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48)
SWIN = dict(embed_dims=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2])
CROP = ('LoadImage', 'RandomResizedCrop 224', 'RandomFlip')
ERASED = (*CROP, 'RandAugment', 'RandomErasing 0.25', 'PackInputs')


class Recipe(NamedTuple):
    """One row: ``peak`` and ``low`` are the head's rates; ``layer_low`` is the end of the first
    layer's rate, which some scale by layer."""
    batch: int
    peak: float
    low: float
    layer_low: float
    warmup: int
    epochs: int
    layer_decay: Optional[float]
    decay: float
    clip: Optional[float]
    head_std: float
    augmentation: tuple

    def rate(self, epoch):
        progress = (epoch - self.warmup) / (self.epochs - self.warmup)
        return self.low + (self.peak - self.low) * (1 + math.cos(math.pi * progress)) / 2


# Layers of the small models below: 2 of the ViT, 4 of the Swin, and the stem.
OFFICIAL = dict(
    mae_vit_b_ft_100e=Recipe(1024, 2e-3, 1e-6, 1e-6 * 0.65**3, 5, 100, 0.65, 0.05, None, 2e-5,
                             ERASED),
    localmim_vit_b_ft_100e=Recipe(1024, 4e-3, 1e-6, 1e-6 * 0.75**3, 20, 100, 0.75, 0.05, None,
                                  2e-5, ERASED),
    simmim_swin_b_ft_100e=Recipe(2048, 5e-3, 1e-6, 1e-6, 20, 100, 0.8, 0.05, 5., 0.02, ERASED),
    greenmim_swin_b_ft_100e=Recipe(768, 1.875e-3, 3.75e-7, 3.75e-7, 20, 100, 0.9, 0.05, 5., 0.02,
                                   ERASED),
    mae_vit_b_linear_90e=Recipe(
        16384, 6.4, 0., 0., 10, 90, None, 0., None, 0.01,
        ('LoadImage', 'ToPIL', 'MAERandomResizedCrop 224', 'ToNumpy', 'RandomFlip', 'PackInputs')),
    vit_b_ft_100e=Recipe(2048, 3.2e-3, 0., 0., 20, 100, 0.75, 0.05, None, 2e-5,
                         (*ERASED[:4], 'RandomErasing 0.0', 'PackInputs')),
)


def load(name):
    """A config with a small network, and a training step for the CPU."""
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(ROOT / f'configs/classification/{name}.py')
    settle_precision(cfg, amp=False)
    swin = 'swin' in name
    cfg.model.backbone.arch, cfg.model.head.in_channels = (SWIN, 128) if swin else (VIT, 24)
    if cfg.model.get('neck') and not swin:
        cfg.model.neck.input_features, cfg.model.backbone.frozen_stages = 24, 2
    cfg.model.backbone.init_cfg = None
    return cfg


def build(cfg):
    torch.manual_seed(0)
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    model.init_weights()
    return model, build_optim_wrapper(model, cfg.optim_wrapper)


def group_of(wrapper, parameter):
    return next(group for group in wrapper.optimizer.param_groups
                if any(parameter is other for other in group['params']))


@pytest.mark.parametrize('name', OFFICIAL)
def test_numbers(name):
    cfg, official = load(name), OFFICIAL[name]
    assert cfg.auto_scale_lr.base_batch_size == 8 * cfg.train_dataloader.batch_size
    assert cfg.auto_scale_lr.base_batch_size == official.batch
    assert cfg.train_cfg.max_epochs == official.epochs
    assert ' '.join(augmentation(cfg)) == ' '.join(official.augmentation)
    model, wrapper = build(cfg)
    assert (cfg.optim_wrapper.get('clip_grad') or {}).get('max_norm') == official.clip
    # Of numbers cut off at two deviations, as mmengine's initialisation does.
    spread = model.head.fc.weight.std().item()
    assert spread == pytest.approx(0.88 * official.head_std, rel=0.15)
    head = stem = group_of(wrapper, model.head.fc.weight)
    assert head['lr'] == pytest.approx(official.peak)
    assert head['weight_decay'] == official.decay
    if official.layer_decay:
        stem = group_of(wrapper, model.backbone.patch_embed.projection.weight)
        layers = len(model.backbone.layers) if 'vit' in name else 4
        assert stem['lr'] == pytest.approx(official.peak * official.layer_decay**(layers + 1))
        assert group_of(wrapper, model.head.fc.bias)['weight_decay'] == 0
        assert head['betas'] == (0.9, 0.999)
    schedulers = [PARAM_SCHEDULERS.build(dict(one), default_args=dict(
        optimizer=wrapper, epoch_length=STEPS)) for one in map(dict, cfg.param_scheduler)]
    rates = []
    for _ in range(official.epochs * STEPS):
        rates.append((head['lr'], stem['lr']))
        for scheduler in schedulers:
            scheduler.step()
    rates = np.array(rates)
    warm = official.warmup * STEPS
    assert rates[0, 0] < 1e-3 * official.peak
    assert rates[warm, 0] == pytest.approx(official.peak, rel=1e-3) == rates[:, 0].max()
    for share in (0.25, 0.5):
        epoch = int(share * official.epochs)
        assert rates[epoch * STEPS, 0] == pytest.approx(official.rate(epoch), rel=1e-2), share
    assert rates[-1, 0] == pytest.approx(official.low, abs=1e-4 * official.peak)
    if official.layer_decay:
        assert rates[-1, 1] == pytest.approx(official.layer_low, abs=1e-4 * rates[:, 1].max())


def test_mixing_is_the_official_one():
    augments = [(one.type, one.alpha) for one in load('mae_vit_b_ft_100e').model.train_cfg.augments]
    assert augments == [('mmpretrain.Mixup', 0.8), ('mmpretrain.CutMix', 1.0)]
    loss = load('mae_vit_b_ft_100e').model.head.loss
    assert (loss.type, loss.label_smooth_val) == ('mmpretrain.LabelSmoothLoss', 0.1)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp('images'), np.random.default_rng(0)
    for name in ('a', 'b'):
        (root / 'train' / name).mkdir(parents=True)
        pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((280, 250)).save(root / 'train' / name / '0.jpg')
    return root


@pytest.mark.parametrize('name', [name for name in OFFICIAL if name[0] != 'v'])
def test_a_step(name, folder):
    cfg = load(name)
    cfg.train_dataloader.dataset.data_root = str(folder)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    model, wrapper = build(cfg)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    loss = model.train().train_step(default_collate([dataset[0], dataset[1]]), wrapper)['loss']
    assert loss.isfinite() and loss > 0
    moved = {key for key, value in model.state_dict().items() if not torch.equal(
        value, before[key])}
    if 'linear' in name:  # the batch norm counts, and has nothing to learn
        assert moved == {'head.fc.weight', 'head.fc.bias', 'neck.bn.running_mean',
                         'neck.bn.running_var', 'neck.bn.num_batches_tracked'}
    else:
        assert {key for key, p in model.named_parameters()} <= moved | {'head.fc.bias'}


def test_lars_as_in_maes_code():
    """Weights by their trust ratio, biases by the rate itself."""
    cfg = load('mae_vit_b_linear_90e')
    model, wrapper = build(cfg)
    weight, bias = model.head.fc.weight, model.head.fc.bias
    with torch.no_grad():
        bias += 1.
    for parameter in (weight, bias):
        parameter.grad = torch.randn_like(parameter)
    expected = weight - 6.4 * 0.001 * weight.norm() / weight.grad.norm() * weight.grad
    wanted = bias - 6.4 * bias.grad
    wrapper.optimizer.step()
    torch.testing.assert_close(weight, expected)
    torch.testing.assert_close(bias, wanted)


def test_erasing_is_an_option_by_one_field():
    cfg = Config.fromfile(ROOT / 'configs/classification/vit_b_ft_100e.py')
    cfg.merge_from_dict({'train_dataloader.dataset.pipeline.4.erase_prob': 0.25,
                         'model.head.init_cfg.0.std': 0.01})
    erased = Config.fromfile(ROOT / 'configs/classification/mae_vit_b_ft_100e.py')
    assert cfg.train_dataloader.dataset.pipeline == erased.train_dataloader.dataset.pipeline
    assert cfg.model.head.init_cfg[0].std == 0.01


UPERNET = 'configs/segmentation/localmim_upernet_vit_b_160k_ade20k_512x512.py'


def test_a_stock_vit_arrives_in_localmims_upernet():
    """Its numbers; and without position biases its features are the stock ViT's."""
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(ROOT / UPERNET)
    backbone = cfg.model.backbone
    assert list(backbone.out_indices) == [1, 3, 9, 11] and backbone.drop_path_rate == 0.1
    assert cfg.optim_wrapper.optimizer.lr == 4e-4
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == 0.65
    assert cfg.model.test_cfg.stride == (341, 341) and cfg.train_cfg.max_iters == 160000
    backbone.update(arch=VIT, img_size=64, out_indices=[0, 1], init_cfg=None)
    ours = MODELS.build(backbone)
    ours.eval()
    stock = shake(VisionTransformer(arch=VIT, img_size=64, out_indices=[0, 1], out_type='featmap',
                                    final_norm=False))
    stock.eval()
    found = compare(stock.state_dict(), ours.state_dict())
    assert not found.missing and not found.left_over and not found.reshaped
    ours.load_state_dict(stock.state_dict(), strict=False)
    assert all((value == 1).all() for name, value in ours.named_parameters() if 'gamma' in name)
    images = noise(2, 3, 64, 64)
    for one, other in zip(ours(images), stock(images), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    # A checkpoint that has some of them must have all.
    state = dict(ours.state_dict())
    del state['layers.1.gamma_2']
    assert compare(state, ours.state_dict()).missing == ['layers.1.gamma_2']


def test_localmims_upernet_steps():
    cfg = Config.fromfile(ROOT / UPERNET)
    settle_precision(cfg, amp=False)
    model = cfg.model
    model.backbone.update(arch=dict(VIT, num_layers=4), img_size=64, out_indices=[0, 1, 2, 3],
                          init_cfg=None)
    model.neck.embed_dim = model.auxiliary_head.in_channels = 24
    model.decode_head.update(in_channels=[24] * 4, channels=8)
    model.auxiliary_head.channels = 8
    model.data_preprocessor.size = (64, 64)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = revert_sync_batchnorm(MODELS.build(model)).train()
        model.init_weights()
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        rates = {name: group['lr'] / 4e-4 for group in wrapper.optimizer.param_groups
                 for name in group['param_names']}
        assert rates['backbone.layers.3.attn.relative_position_bias_table'] == pytest.approx(0.65)
        assert rates['backbone.pos_embed'] == pytest.approx(0.65**5)
        samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 64, 64).long()))
                   for _ in range(2)]
        before = {name: p.clone() for name, p in model.named_parameters()}
        model.train_step(dict(inputs=[torch.zeros(3, 64, 64).byte() + 60 * i for i in range(2)],
                              data_samples=samples), wrapper)
    moved = [name for name, p in model.named_parameters() if not torch.equal(p, before[name])]
    assert 'backbone.layers.0.gamma_1' in moved and len(moved) > 0.9 * len(before)
