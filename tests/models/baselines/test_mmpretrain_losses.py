"""The losses of mmpretrain's baselines against loops written from their papers: MAE, SimMIM,
MaskFeat and MoCo v3. Those that predict tokens are in test_token_losses.py.

Networks' layers are the models' own, one call each, with paths dropped; everything between them
(what is masked, where tokens and targets go, what the loss is) is done by hand here. Random numbers
are those of one seed: first the mask's, if the model draws it, then those of dropped paths.
"""
import math

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample

from tests.support.models import noise, shake
from tests.support.references import loop_positions

ARCH = dict(embed_dims=24, num_layers=3, num_heads=2, feedforward_channels=48)
DROP = 0.5


def build(config, scale=0.05):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    model.train()
    return shake(model, scale)


def masks(batch, rows, cols, count, seed=0):
    """(B, rows, cols) of zeros and ones, differently many ones an image if ``count`` is a list."""
    mask = torch.zeros(batch, rows * cols, dtype=torch.long)
    for image, ones in enumerate([count] * batch if isinstance(count, int) else count):
        places = torch.randperm(rows * cols, generator=torch.Generator().manual_seed(seed + image))
        mask[image, places[:ones]] = 1
    return mask.view(batch, rows, cols)


def samples(mask):
    return [DataSample(mask=one) for one in mask]


def embed(patch_embed, images, size):
    """(B, rows * cols, C): every patch by a product of its pixels with the weights."""
    weight, bias = patch_embed.projection.weight.flatten(1), patch_embed.projection.bias
    rows, cols = images.shape[2] // size, images.shape[3] // size
    return torch.stack([torch.stack([
        weight @ images[b, :, r * size:(r + 1) * size, c * size:(c + 1) * size].flatten() + bias
        for r in range(rows) for c in range(cols)]) for b in range(len(images))])


@torch.no_grad()
def test_mae():
    """Normalised pixels of masked patches: He et al., "Approach"."""
    model = build(dict(
        type='MAE',
        backbone=dict(type='MAEViT', arch=ARCH, img_size=32, patch_size=8, mask_ratio=0.7,
                      drop_path_rate=DROP),
        neck=dict(type='MAEPretrainDecoder', num_patches=16, patch_size=8, embed_dim=24,
                  decoder_embed_dim=16, decoder_depth=2, decoder_num_heads=2),
        head=dict(type='MAEPretrainHead', norm_pix=True, patch_size=8,
                  loss=dict(type='PixelReconstructionLoss', criterion='L2'))), scale=0.3)
    model.backbone.pos_embed[0, 0] = model.neck.decoder_pos_embed[0, 0] = 0
    model.backbone.pos_embed[0, 1:] = loop_positions((4, 4), 24)
    model.neck.decoder_pos_embed[0, 1:] = loop_positions((4, 4), 16)
    images = noise(2, 3, 32, 32)
    torch.manual_seed(3)
    loss = model.loss(images, None)['loss'].item()

    torch.manual_seed(3)
    order = torch.rand(2, 16).argsort(1)  # of 16 patches floor(0.3 * 16) = 4 are seen
    tokens = embed(model.backbone.patch_embed, images, 8)
    x = torch.stack([torch.stack([model.backbone.cls_token[0, 0]] + [
        tokens[b, n] + loop_positions((4, 4), 24)[n] for n in order[b, :4].tolist()])
        for b in range(2)])
    for layer in model.backbone.layers:
        x = layer(x)
    x = model.neck.decoder_embed(model.backbone.norm1(x))
    whole = model.neck.mask_token.expand(2, 17, -1).clone()
    for b in range(2):
        whole[b, 0] = x[b, 0]
        for k, n in enumerate(order[b, :4].tolist()):
            whole[b, 1 + n] = x[b, 1 + k]
    whole[:, 1:] += loop_positions((4, 4), 16)
    for block in model.neck.decoder_blocks:
        whole = block(whole)
    predictions = model.neck.decoder_pred(model.neck.decoder_norm(whole))[:, 1:]
    errors = []
    for b in range(2):
        for n in order[b, 4:].tolist():
            r, c = 8 * (n // 4), 8 * (n % 4)
            pixels = images[b, :, r:r + 8, c:c + 8].permute(1, 2, 0).flatten().double().numpy()
            target = (pixels - pixels.mean()) / np.sqrt(pixels.var(ddof=1) + 1e-6)
            errors.append(((predictions[b, n].double().numpy() - target)**2).mean())
    assert len(errors) == 24
    assert loss == pytest.approx(np.mean(errors), rel=1e-4)


@torch.no_grad()
def test_simmim():
    """Pixels of masked units by a linear layer, L1: Xie et al., Eq. 1."""
    arch = dict(embed_dims=16, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2])
    model = build(dict(
        type='SimMIM',
        backbone=dict(type='SimMIMSwinTransformer', arch=arch, img_size=64, drop_path_rate=DROP,
                      stage_cfgs=dict(block_cfgs=dict(window_size=2))),
        neck=dict(type='SimMIMLinearDecoder', in_channels=128, encoder_stride=32),
        head=dict(type='SimMIMHead', patch_size=4,
                  loss=dict(type='PixelReconstructionLoss', criterion='L1', channel=3))))
    images, units = noise(3, 3, 64, 64), masks(3, 2, 2, [2, 1, 3])
    mask = units.repeat_interleave(8, 1).repeat_interleave(8, 2)  # of patches of 4 px
    torch.manual_seed(5)
    loss = model.loss(images, samples(mask))['loss'].item()

    torch.manual_seed(5)
    backbone = model.backbone
    x = backbone.patch_embed.norm(embed(backbone.patch_embed, images, 4))
    for b in range(3):
        for n, hidden in enumerate(mask[b].flatten().tolist()):
            if hidden:
                x[b, n] = backbone.mask_token[0, 0]
    size = (16, 16)
    for stage in backbone.stages:
        x, size = stage(x, size)
    x = backbone.norm3(x)
    assert size == (2, 2)
    layer = model.neck.decoder[0]
    values = x @ layer.weight.flatten(1).T + layer.bias  # (B, 4, 3 * 32 * 32)
    total, pixels = 0., 0
    for b in range(3):
        for n, hidden in enumerate(units[b].flatten().tolist()):
            if hidden:
                r, c = 32 * (n // 2), 32 * (n % 2)
                error = values[b, n].view(3, 32, 32) - images[b, :, r:r + 32, c:c + 32]
                total, pixels = total + error.abs().double().sum().item(), pixels + 3 * 32 * 32
    assert loss == pytest.approx(total / pixels, rel=1e-4)


def loop_maskfeat_hog(plane, cell, window):
    """(bins, rows, cols) of one colour: Sobel gradients, weighted by a Gaussian around the middle
    of each window, vote for one of 9 directions; bins count from the axis of the rows on."""
    side = len(plane)
    padded = np.pad(plane, 1, mode='reflect')
    votes = np.zeros((9, side // cell, side // cell))
    for y in range(side):
        for x in range(side):
            around = padded[y:y + 3, x:x + 3]
            dx = np.array([1, 2, 1]) @ (around[:, 0] - around[:, 2])
            dy = np.array([1, 2, 1]) @ (around[0] - around[2])
            middle = (window - 1) / 2
            distance = (y % window - middle)**2 + (x % window - middle)**2
            weight = math.exp(-distance / (2 * (window // 2)**2))
            angle = math.atan2(dx, dy) % math.pi
            votes[int(angle / math.pi * 9) % 9, y // cell, x // cell] += weight * math.hypot(dx, dy)
    return votes / np.maximum(np.sqrt((votes**2).sum(0)), 1e-12)


@torch.no_grad()
def test_maskfeat():
    """HOG of masked patches: Wei et al., "Target features"; cells of 4 px, patches of 8."""
    model = build(dict(
        type='MaskFeat',
        backbone=dict(type='MaskFeatViT', arch=ARCH, img_size=112, patch_size=8,
                      drop_path_rate=DROP),
        neck=dict(type='LinearNeck', in_channels=24, out_channels=108, norm_cfg=None),
        head=dict(type='MIMHead', loss=dict(type='PixelReconstructionLoss', criterion='L2')),
        target_generator=dict(type='HOGGenerator', nbins=9, pool=4, gaussian_window=8)))
    images, mask = noise(1, 3, 112, 112), masks(1, 14, 14, 78)
    torch.manual_seed(6)
    loss = model.loss(images, samples(mask))['loss'].item()

    torch.manual_seed(6)
    backbone, hidden = model.backbone, mask.flatten(1).tolist()
    x = embed(backbone.patch_embed, images, 8)
    for n in range(196):
        if hidden[0][n]:
            x[0, n] = backbone.mask_token[0, 0]
    x = torch.cat([backbone.cls_token, x], dim=1) + backbone.pos_embed
    for layer in backbone.layers:
        x = layer(x)
    predictions = model.neck.fc(backbone.norm1(x))[0, 1:].numpy()
    hog = np.stack([loop_maskfeat_hog(plane.double().numpy(), 4, 8) for plane in images[0]])
    errors = []
    for n in range(196):
        if hidden[0][n]:
            r, c = 2 * (n // 14), 2 * (n % 14)
            target = hog[:, :, r:r + 2, c:c + 2].reshape(27, 4)  # all cells of a bin in turn
            errors.append(((predictions[n].reshape(27, 4) - target)**2).mean())
    assert loss == pytest.approx(np.mean(errors), rel=1e-3)


def perceptron(neck, x):
    """Linear layers without biases, batch norms of the batch, ReLU between."""
    layers = [(neck.fc0, neck.bn0)] + [
        (getattr(neck, name), getattr(neck, f'bn{i + 1}'))
        for i, name in enumerate(neck.fc_names)]
    for k, (linear, norm) in enumerate(layers):
        x = x @ linear.weight.double().numpy().T
        x = (x - x.mean(0)) / np.sqrt(x.var(0) + norm.eps)
        if norm.affine:
            x = x * norm.weight.double().numpy() + norm.bias.double().numpy()
        x = np.maximum(x, 0) if k < len(layers) - 1 else x
    return x


@torch.no_grad()
def test_mocov3():
    """Both views ask for each other among all images: Chen et al., Algorithm 1."""
    layers = dict(type='NonLinearNeck', with_bias=False, with_last_bn=True,
                  with_last_bn_affine=False, with_last_bias=False, with_avg_pool=False,
                  hid_channels=20, out_channels=8)
    tau, batch = 0.2, 5
    model = build(dict(
        type='MoCoV3', base_momentum=0.1,
        backbone=dict(type='MoCoV3ViT', arch=ARCH, img_size=32, patch_size=8,
                      stop_grad_conv1=True, drop_path_rate=DROP),
        neck=dict(layers, in_channels=24, num_layers=3),
        head=dict(type='MoCoV3Head', temperature=tau,
                  predictor=dict(layers, in_channels=8, num_layers=2),
                  loss=dict(type='CrossEntropyLoss', loss_weight=2 * tau))))
    hub = MessageHub.get_current_instance()
    hub.update_info('max_iters', 4)
    views = [noise(batch, 3, 32, 32), noise(batch, 3, 32, 32, seed=1)]
    model.loss(views, None)  # the first update copies
    own, other = [model.backbone, model.neck], list(model.momentum_encoder.module)
    shake(torch.nn.ModuleList(own))
    share = 0.1 * (math.cos(math.pi / 4) + 1) / 2  # of the cosine at step 1 of 4
    expected = [q * (1 - share) + p * share for ours, theirs in zip(own, other, strict=True)
                for p, q in zip(ours.parameters(), theirs.parameters(), strict=True)]
    torch.manual_seed(8)
    loss = model.loss(views, None)['loss'].item()
    hub.runtime_info.pop('max_iters')
    found = [p for part in other for p in part.parameters()]
    for one, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(one, wanted)

    torch.manual_seed(8)
    features = [backbone(view)[-1].double().numpy() for backbone in (own[0], other[0])
                for view in views]
    queries = [perceptron(model.head.predictor, perceptron(own[1], f)) for f in features[:2]]
    keys = [perceptron(other[1], f) for f in features[2:]]
    total = 0.
    for query, key in ((queries[0], keys[1]), (queries[1], keys[0])):
        for i in range(batch):
            cosines = np.array([query[i] @ k / np.linalg.norm(query[i]) / np.linalg.norm(k)
                                for k in key])
            scores = np.exp(cosines / tau)
            total += -np.log(scores[i] / scores.sum()) / batch
    assert loss == pytest.approx(2 * tau * total, rel=1e-4)
