"""The losses of baselines that are WaMIM with other parts, against loops written from their papers.

Each is its config with a small network, with dropped paths: what the encoder gives is taken as it
is (its own tests hold it), decoders, targets and the loss are done by hand.
"""
import math

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from tests.support.commands import ROOT
from tests.support.models import level_losses, noise, shake
from tests.support.references import loop_cross, loop_decode, loop_loss, loop_mae, loop_rescale

VIT = dict(embed_dims=24, num_layers=12, num_heads=2, feedforward_channels=48)
SWIN = dict(embed_dims=16, depths=[2, 2, 2, 2], num_heads=[1, 1, 2, 2])


def build(name, size, drop=0.3, **fields):
    """The model of a config on images of ``size`` px, with paths dropped and moved weights."""
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    config = Config.fromfile(ROOT / f'configs/baselines/{name}.py').model
    config.backbone.update(arch=SWIN if 'swin' in name else VIT, img_size=size,
                           drop_path_rate=drop)
    if 'swin' in name:
        config.backbone.window_size = 4
    for part, changes in fields.items():
        config[part].update(changes)
    model = MODELS.build(config)
    model.init_weights()
    # Else predictions are so small that a target's own size decides the loss.
    return shake(model, 0.2).train()


def run(model, images):
    """The losses, the plan, and the features that the encoder gave."""
    torch.manual_seed(4)
    plan = model.plan_mask(images)
    torch.manual_seed(5)
    with torch.no_grad():
        losses = level_losses(model.loss(images, plan=plan))
        torch.manual_seed(5)
        return losses, plan, model.backbone(images, plan)


def check(losses, predictions, targets, counted):
    expected = loop_loss(predictions, [torch.from_numpy(t).float() for t in targets], counted,
                         [1.] * len(targets))
    for ours, theirs in zip(losses, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def decode_levels(model, features, plan, strides):
    predictions = []
    for tokens, decoder, stride in zip(features, model.neck.levels, strides, strict=True):
        rows, cols = (units * model.backbone.mask_unit // decoder.feature_stride
                      for units in plan.grid)
        mask = loop_rescale(plan.mask, (rows, cols)).bool()
        predictions.append(loop_decode(decoder, tokens, mask, stride))
    return predictions


def loop_pixels(images, stride):
    """Zero mean and unit variance over the pixels of each cell: (B, s * s * 3, rows, cols)."""
    batch, channels, height, width = images.shape
    out = np.zeros((batch, channels * stride**2, height // stride, width // stride))
    for b in range(batch):
        for r in range(height // stride):
            for c in range(width // stride):
                cell = images[b, :, r * stride:(r + 1) * stride, c * stride:(c + 1) * stride]
                values = np.asarray(cell, dtype=np.float64).transpose(1, 2, 0).ravel()
                out[b, :, r, c] = (values - values.mean()) / np.sqrt(values.var(ddof=1) + 1e-6)
    return out


def loop_votes(images, bins, down=0., right=0.):
    """Sobel gradients, a colour at a time; directions count from the axis of the rows on, as
    LocalMIM's code has it. (B, colours, bins, H, W)."""
    batch, channels, height, width = images.shape
    votes = np.zeros((batch, channels, bins, height, width))
    for b in range(batch):
        for k in range(channels):
            padded = np.pad(images[b, k].double().numpy(), 1, mode='reflect')
            for y in range(height):
                for x in range(width):
                    around = padded[y:y + 3, x:x + 3]
                    dx = np.array([1, 2, 1]) @ (around[:, 2] - around[:, 0]) + right
                    dy = np.array([1, 2, 1]) @ (around[2] - around[0]) + down
                    angle = math.atan2(dx, dy) % math.pi
                    votes[b, k, int(angle / math.pi * bins) % bins, y, x] = math.hypot(dx, dy)
    return votes


def loop_cells(votes, s):
    """Histograms of cells of ``s`` px, each of length one: (B, colours * bins, rows, cols)."""
    batch, channels, bins, height, width = votes.shape
    cells = votes.reshape(batch, channels, bins, height // s, s, width // s, s).sum((4, 6))
    cells = cells / np.sqrt((cells**2).sum(2, keepdims=True))
    return cells.reshape(batch, channels * bins, height // s, width // s)


@pytest.mark.parametrize('name', ['localmim_vit_b_100e', 'localmim_vit_s_300e'])
def test_localmim_vit(name):
    """Wang et al., Eq. 5: layers 2, 4, 10, 12 predict 4, 8, 16 and 32 px, all weighted equally."""
    model, images = build(name, 64, neck=dict(embed_dims=16, num_heads=2)), noise(1, 3, 64, 64)
    losses, plan, features = run(model, images)
    assert model.backbone.out_indices == [1, 3, 9, 11] and plan.num_visible == 4
    strides, votes = (4, 8, 16, 32), loop_votes(images, 9)
    check(losses, decode_levels(model, features, plan, strides),
          [loop_cells(votes, stride) for stride in strides], plan.mask)


def test_localmim_swin():
    """Each stage predicts on its own grid: 8, 16, 32 and 32 px, 18 bins, a bias of its own."""
    model = build('localmim_swin_b_100e', 64, neck=dict(embed_dims=(16, 32, 32, 32)))
    images = noise(1, 3, 64, 64)
    losses, plan, features = run(model, images)
    strides, biases = (8, 16, 32, 32), model.target_generator.bias.tolist()
    targets = [loop_cells(loop_votes(images, 18, *bias), stride)
               for stride, bias in zip(strides, biases, strict=True)]
    check(losses, decode_levels(model, features, plan, strides), targets, plan.mask)


def test_greenmim():
    """Huang et al., "Green Hierarchical MIM": normalised pixels of masked units of 32 px."""
    model = build('greenmim_swin_b_800e', 128, neck=dict(embed_dims=32, num_heads=2))
    images = noise(2, 3, 128, 128)
    losses, plan, features = run(model, images)
    assert plan.mask.shape == (1, 4, 4) and plan.num_visible == 4
    check(losses, decode_levels(model, features, plan, (32, )), [loop_pixels(images, 32)],
          plan.mask)


def deep(name, neck=(), **fields):
    """Loss, plan and predictions by hand of a config with a deep decoder, on images of 64 px."""
    neck = dict(dict(embed_dims=16, num_heads=2), **dict(neck))
    model, images = build(name, 64, neck=neck, **fields), noise(2, 3, 64, 64)
    losses, plan, features = run(model, images)
    predictions = []
    for image in range(2):
        own = [level[image] for level in features]
        cells = loop_cross(model.neck, own, plan.grid) if 'cross' in name else loop_mae(
            model.neck, own, plan.mask[image])
        predictions.append(cells.T.detach().unflatten(1, plan.grid))
    return losses, plan, [torch.stack(predictions)], images


@pytest.mark.parametrize('name, levels, depth, visible', [
    ('mae_efficient_vit_b_100e', 1, 1, 1), ('mff_vit_b_800e', 6, 8, 4)])
def test_mae_and_its_fusion(name, levels, depth, visible):
    """Liu et al., Eq. 2 and 3 (MFF); MAE's loss."""
    losses, plan, predictions, images = deep(name)
    assert plan.num_visible == visible
    neck = Config.fromfile(ROOT / f'configs/baselines/{name}.py').model
    assert len(neck.backbone.out_indices) == levels and neck.neck.depth == depth
    check(losses, predictions, [loop_pixels(images, 16)], plan.mask)


def test_pixmim():
    """Liu et al., Eq. 3 and 4: MAE's loss of images without high frequencies."""
    losses, plan, predictions, images = deep('pixmim_vit_b_800e', neck=dict(depth=2),
                                             target_generator=dict(radius=(9., )))
    rows = np.fft.fftfreq(64, 1 / 64)
    low = rows[:, None]**2 + rows**2 <= 81
    smooth = np.fft.ifft2(np.fft.fft2(images.double().numpy()) * low).real
    check(losses, predictions, [loop_pixels(smooth, 16).reshape(2, 256, 3, 4, 4).transpose(
        0, 2, 1, 3, 4).reshape(2, 768, 4, 4)], plan.mask)


def test_crossmae():
    """Fu et al., Eq. 1 to 3: a third of the masked patches, each read out by itself."""
    losses, plan, predictions, images = deep('crossmae_vit_b_800e', neck=dict(depth=3))
    assert plan.mask.flatten(1).sum(1).tolist() == [12, 12]
    assert plan.counted.flatten(1).sum(1).tolist() == [4, 4]
    check(losses, predictions, [loop_pixels(images, 16)], plan.counted)
