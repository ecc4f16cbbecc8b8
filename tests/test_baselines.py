"""Every baseline builds at its full size and takes a step through its own data pipeline."""
import functools

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, init_default_scope
from PIL import Image

from mmwamim.engine.config.check import check_config
from mmwamim.engine.config.step import settle_precision
from mmwamim.engine.export.arrival import compare
from mmwamim.engine.export.hook import encoder_state
from mmwamim.evaluation.features import encode
from tests.support.commands import ROOT

CONFIGS = sorted((ROOT / 'configs/baselines').glob('*.py'))
STOCK = dict(
    vit_b=dict(type='VisionTransformer', arch='base', img_size=224, patch_size=16),
    vit_s=dict(type='VisionTransformer', arch='deit-small', img_size=224, patch_size=16),
    swin_b=dict(type='SwinTransformer', arch='base', img_size=224))


@functools.cache
def stock_state(encoder, smaller):
    changes = dict(img_size=192, window_size=6) if smaller else {}
    return MODELS.build({**STOCK[encoder], **changes}).state_dict()


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photographs')
    rng = np.random.default_rng(0)
    for i in range(2):
        pixels = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((320, 240), Image.BICUBIC).save(folder / f'{i}.jpg')
    return folder


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_full_size_step(path, photographs):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    cfg = Config.fromfile(path)
    check_config(cfg)
    if (cfg.model.get('target_generator') or {}).get('type') == 'mmpretrain.DALL-E':
        cfg.model.target_generator.init_cfg = None  # the published weights are a download
    settle_precision(cfg, amp=False)
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, data_root=str(photographs)))
    MessageHub.get_current_instance().update_info('max_iters', 100)
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor)).train()
    model.init_weights()
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {name: value.clone() for name, value in model.backbone.named_parameters()}
    normed = any(isinstance(part, torch.nn.modules.batchnorm._BatchNorm)
                 for part in model.modules())  # over the images: of one alone nothing is left
    losses = model.train_step(
        default_collate([dataset[number] for number in range(1 + normed)]), optimizer)
    assert losses['loss'].isfinite() and losses['loss'] > 0
    moved = {name for name, value in model.backbone.named_parameters()
             if not torch.equal(value, before[name])}
    trained = {name for name, value in model.backbone.named_parameters() if value.requires_grad}
    assert len(moved) >= 0.9 * len(trained)

    # The encoder can be probed as it is, and what it learnt has the stock network's names.
    side = 192 if '192' in path.stem else 224
    with torch.no_grad():
        assert encode(model.backbone, torch.zeros(1, 3, side, side)) is not None
    if path.stem.startswith(('beit', 'cae')):
        return  # BEiT's own network
    encoder = next(name for name in STOCK if name in path.stem)
    state = {name[len('backbone.'):]: value for name, value in encoder_state(model).items()}
    found = compare(state, stock_state(encoder, '192' in path.stem))
    assert not found.missing and not found.left_over and not found.reshaped
