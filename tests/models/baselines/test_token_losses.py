"""The losses of BEiT and CAE against loops, by the rules of test_mmpretrain_losses.py."""
import math

import numpy as np
import pytest
import torch

from tests.models.baselines.test_mmpretrain_losses import ARCH, DROP, build, embed, masks, samples
from tests.support.models import noise

BEIT_SIZES = dict(img_size=32, patch_size=8, drop_path_rate=DROP, layer_scale_init_value=0.1)
TOKENIZER = dict(type='DALL-E', n_hid=4, n_blk_per_group=1, vocab_size=11)


def log_softmax(x):
    shifted = x - x.max()
    return shifted - math.log(torch.exp(shifted).sum())


def tokens_of(model, images):
    """The tokenizer's words of a picture, in raster order: those of the largest scores."""
    scores = model.target_generator(images)
    return scores.flatten(2).argmax(1).tolist()


@torch.no_grad()
def test_beit():
    """Log-likelihood of the masked patches' visual tokens: Bao et al., Eq. 1."""
    model = build(dict(
        type='BEiT',
        backbone=dict(type='BEiTPretrainViT', arch=ARCH, final_norm=True, out_type='raw',
                      **BEIT_SIZES),
        neck=None, target_generator=TOKENIZER,
        head=dict(type='BEiTV1Head', embed_dims=24, num_embed=11,
                  loss=dict(type='CrossEntropyLoss'))))
    inputs = [noise(3, 3, 32, 32), noise(3, 3, 32, 32, seed=1)]
    mask = masks(3, 4, 4, [6, 5, 8])
    torch.manual_seed(2)
    loss = model.loss(inputs, samples(mask))['loss'].item()

    words = tokens_of(model, inputs[1])
    torch.manual_seed(2)
    backbone, hidden = model.backbone, mask.flatten(1).tolist()
    x = embed(backbone.patch_embed, inputs[0], 8)
    for b in range(3):
        for n in range(16):
            if hidden[b][n]:
                x[b, n] = backbone.mask_token[0, 0]
    x = torch.cat([backbone.cls_token.expand(3, -1, -1), x], dim=1) + (
        0 if backbone.pos_embed is None else backbone.pos_embed)
    bias = backbone.rel_pos_bias()
    for layer in backbone.layers:
        x = layer(x, rel_pos_bias=bias)
    scores = model.head.cls_head(backbone.norm1(x))[:, 1:]
    terms = [-log_softmax(scores[b, n])[words[b][n]].item()
             for b in range(3) for n in range(16) if hidden[b][n]]
    assert len(terms) == 19
    assert loss == pytest.approx(np.mean(terms), rel=1e-4)


def cae_encode(encoder, images, seen):
    """Class token and the seen patches, each at its position."""
    tokens = embed(encoder.patch_embed, images, 8)
    x = torch.stack([torch.stack([encoder.cls_token[0, 0] + encoder.pos_embed[0, 0]] + [
        tokens[b, n] + encoder.pos_embed[0, 1 + n] for n in range(16) if seen[b][n]])
        for b in range(len(images))])
    for layer in encoder.layers:
        x = layer(x=x, rel_pos_bias=None)
    return encoder.norm1(x)[:, 1:]


@torch.no_grad()
def test_cae():
    """Tokens of masked patches, and twice the distance of their representations from those of the
    encoder itself: Chen et al., Eq. 1 to 3. As in the official code paths are dropped in the
    encoder that makes the targets, too, and it is the one of the step before."""
    model = build(dict(
        type='CAE', base_momentum=0.0, target_generator=TOKENIZER,
        backbone=dict(type='CAEPretrainViT', arch=ARCH, bias='qv_bias', **BEIT_SIZES),
        neck=dict(type='CAENeck', num_classes=11, mask_tokens_num=6, embed_dims=24, num_heads=2,
                  regressor_depth=2, decoder_depth=2, drop_path_rate=DROP,
                  layer_scale_init_value=0.1),
        head=dict(type='CAEHead', loss=dict(type='CAELoss', lambd=2))))
    inputs, mask = [noise(2, 3, 32, 32), noise(2, 3, 32, 32, seed=1)], masks(2, 4, 4, 6)
    before = [p.clone() for p in model.teacher.parameters()]
    torch.manual_seed(4)
    losses = model.loss(inputs, samples(mask))
    assert all(part.training for part in model.teacher.modules())
    now = list(model.teacher.parameters())
    assert all(torch.equal(a, b) for a, b in zip(now, model.backbone.parameters(), strict=True))
    for parameter, value in zip(now, before, strict=True):
        parameter.data = value

    words, hidden = tokens_of(model, inputs[1]), mask.flatten(1).bool()
    torch.manual_seed(4)
    seen = cae_encode(model.backbone, inputs[0], (~hidden).tolist())
    targets = cae_encode(model.teacher, inputs[0], hidden.tolist())
    positions = model.backbone.pos_embed[0, 1:]
    of_masked = torch.stack([positions[[n for n in range(16) if hidden[b, n]]] for b in range(2)])
    of_seen = torch.stack([positions[[n for n in range(16) if not hidden[b, n]]]
                           for b in range(2)])
    neck = model.neck
    x = neck.mask_token.expand(2, 6, -1)
    for block in neck.regressors:
        x = block(x, torch.cat([seen, x], dim=1), of_masked,
                  torch.cat([of_seen, of_masked], dim=1))
    x = latent = neck.norm_regressor(x)
    x = x + of_masked
    for block in neck.decoders:
        x = block(x, rel_pos_bias=None)
    scores = neck.head(neck.norm_decoder(x))
    terms, distances = [], []
    for b in range(2):
        for k, n in enumerate(n for n in range(16) if hidden[b, n]):
            terms.append(-log_softmax(scores[b, k])[words[b][n]].item())
            distances.append(((latent[b, k] - targets[b, k])**2).mean().item())
    assert losses['main'].item() == pytest.approx(np.mean(terms), rel=1e-4)
    assert losses['align'].item() == pytest.approx(2 * np.mean(distances), rel=1e-4)
    assert losses['loss'] == losses['main'] + losses['align']
