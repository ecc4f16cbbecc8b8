"""Any target with any encoder, on one level or several, by config alone."""
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from tests.support.commands import ROOT
from tests.support.models import level_losses, noise, total_loss

ENCODERS = dict(vit='configs/evidence/wamim.py', swin='configs/evidence/swin/swin_wamim.py')
STRIDES = dict(vit=(2, 4, 8, 16), swin=(4, 8, 16))
LAST = dict(vit=7, swin=2)


def targets(strides):
    """A config of every target for cells of these sizes."""
    return dict(
        wavelet=dict(type='WaveletTargetGenerator', levels=[s.bit_length() - 1 for s in strides]),
        packet=dict(type='WaveletPacketTargetGenerator',
                    levels=sorted({s.bit_length() - 1 for s in strides})),
        pixel=dict(type='PixelTargetGenerator', grid_strides=strides),
        hog=dict(type='HOGTargetGenerator', grid_strides=strides),
        fourier=dict(type='FourierTargetGenerator', grid_strides=strides),
        frequency_pass=dict(
            type='FrequencyPassTargetGenerator', grid_strides=strides,
            passes=['high'] * len(strides), radius=[4.] * len(strides)))


@pytest.mark.parametrize('levels', ['one', 'several'])
@pytest.mark.parametrize('target', list(targets((8, ))))
@pytest.mark.parametrize('encoder', list(ENCODERS))
def test_steps(encoder, target, levels):
    init_default_scope('mmpretrain')
    strides = STRIDES[encoder] if levels == 'several' else (8, )
    cfg = Config.fromfile(ROOT / ENCODERS[encoder])
    wanted = targets(strides)[target]
    cfg.model.target_generator = dict(wanted, type=f'mmwamim.{wanted["type"]}')
    cfg.model.head.loss_weights = [1.] * len(strides)
    if levels == 'one':
        cfg.model.backbone.out_indices = (LAST[encoder], )
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    losses = model.loss(noise(2, 3, 32, 32))
    assert len(level_losses(losses)) == len(strides)
    total_loss(losses).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
