"""WaMIM with SparseSwin: the same algorithm, decoders, targets and head as with ViT."""
from pathlib import Path

import mmdet
import pytest
import skimage.data
import torch
from mmdet.registry import MODELS as DET_MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmwamim.models import WaMIM
from tests.models.test_wamim import fix_masks
from tests.support.models import LOSS_WEIGHTS, level_losses, noise, shake, total_loss
from tests.support.references import loop_decode, loop_loss, loop_rescale, loop_targets

ARCH = dict(embed_dims=32, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8])


def build(shared_mask=True, size=128, **fields):
    torch.manual_seed(0)
    return WaMIM(
        backbone=dict(type='mmwamim.SparseSwin', arch=ARCH, img_size=size, window_size=4,
                      **fields),
        neck=dict(type='mmwamim.MultiLevelDecoder', embed_dims=32, num_heads=2),
        head=dict(type='mmwamim.MultiLevelMIMHead', loss_weights=LOSS_WEIGHTS),
        target_generator=dict(type='mmwamim.WaveletTargetGenerator', levels=(2, 3, 4, 5)),
        shared_mask=shared_mask)


def test_loss_equals_a_slow_composition():
    model, images = build(), noise(2, 3, 128, 128)
    model.init_weights()
    shake(model, 0.05)
    mask = model.plan_mask(images).mask
    assert mask.shape == (1, 4, 4) and (~mask).sum() == 4
    losses = fix_masks(model, mask).loss(images)
    predictions = []
    for tokens, decoder, level in zip(model.backbone(images, mask), model.neck.levels,
                                      (2, 3, 4, 5), strict=True):
        side = 128 // decoder.feature_stride
        predictions.append(loop_decode(decoder, tokens, loop_rescale(mask, (side, side)).bool(),
                                       2**level))
    targets = [torch.from_numpy(t).float() for t in loop_targets(images)]
    expected = loop_loss(predictions, targets, mask, LOSS_WEIGHTS)
    for ours, theirs in zip(level_losses(losses), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=0)


def test_every_trained_parameter_gets_a_gradient():
    model = build()
    model.init_weights()
    total_loss(model(noise(2, 3, 128, 128), mode='loss')).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        else:
            assert parameter.grad is None, name


def test_one_mask_an_image_is_refused_when_built():
    with pytest.raises(ValueError, match='set shared_mask=True'):
        build(shared_mask=False)


def test_loss_falls_on_photographs():
    photographs = torch.stack([
        torch.from_numpy(getattr(skimage.data, name)()[100:228, 100:228].copy())
        for name in ('astronaut', 'chelsea', 'coffee', 'rocket')])
    photographs = photographs.permute(0, 3, 1, 2).float().sub(120).div(60)
    model = build()
    model.init_weights()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    history = []
    for _ in range(50):
        loss = total_loss(model(photographs, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    _, targets, _ = model.predict_targets(photographs)
    of_zeros = sum(w * t.square().mean() for w, t in zip(LOSS_WEIGHTS, targets, strict=True))
    last = sum(history[-5:]) / 5
    assert last < 0.85 * sum(history[:5]) / 5
    assert last < 0.95 * of_zeros  # better than predicting the mean


def test_the_encoder_arrives_whole_in_a_mask_rcnn(tmp_path):
    encoder = build().backbone
    encoder.init_weights()
    shake(encoder)
    state = {f'backbone.{name}': value for name, value in encoder.state_dict().items()}
    path = tmp_path / 'encoder.pth'
    torch.save(dict(state_dict=state), path)

    root = Path(mmdet.__file__).parent / '.mim/configs/_base_/models'
    model = Config.fromfile(root / 'mask-rcnn_r50_fpn.py').model
    model.backbone = dict(
        type='mmpretrain.SwinTransformer', arch=ARCH, img_size=128, window_size=4,
        out_indices=(0, 1, 2, 3), pad_small_map=True,
        init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='backbone.'))
    model.neck.in_channels = [32, 64, 128, 256]
    with DefaultScope.overwrite_default_scope('mmdet'):
        detector = DET_MODELS.build(model)
        detector.init_weights()
    arrived = detector.backbone.state_dict()
    assert arrived.keys() == encoder.state_dict().keys()
    for name, value in encoder.state_dict().items():
        assert torch.equal(arrived[name], value), name
