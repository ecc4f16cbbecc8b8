"""Slow, obvious references for the parts of the package."""
import math

import numpy as np
import pywt
import torch
import torch.nn.functional as F
from mmpretrain.models.utils import resize_pos_embed

from tests.support.models import LOSS_WEIGHTS


def loop_positions(grid, channels):
    """(rows * cols, channels): sines and cosines of the row, then of the column."""
    table = []
    for row in range(grid[0]):
        for col in range(grid[1]):
            values = []
            for place in (row, col):
                angles = [place / 10000**(4 * k / channels) for k in range(channels // 4)]
                values += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            table.append(values)
    return torch.tensor(table)


def loop_rescale(mask, grid):
    """The masked share of each cell, counted on a grid that both grids divide."""
    batch, rows, cols = mask.shape
    fine_rows, fine_cols = math.lcm(rows, grid[0]), math.lcm(cols, grid[1])
    share = torch.zeros(batch, *grid)
    for b in range(batch):
        for r in range(fine_rows):
            for c in range(fine_cols):
                if mask[b, r * rows // fine_rows, c * cols // fine_cols]:
                    share[b, r * grid[0] // fine_rows, c * grid[1] // fine_cols] += 1
    return share * grid[0] * grid[1] / (fine_rows * fine_cols)


def loop_encode(plain, images, mask):
    """A stock ViT's own parts on the visible tokens alone, an image at a time."""
    extra = plain.num_extra_tokens
    batch = []
    for image, hidden in zip(images, mask.expand(len(images), -1, -1), strict=True):
        tokens, grid = plain.patch_embed(image[None])
        positions = resize_pos_embed(plain.pos_embed, plain.patch_resolution, grid,
                                     mode=plain.interpolate_mode, num_extra_tokens=extra)[0]
        sequence = [plain.cls_token[0, 0] + positions[0]] if extra else []
        for place, is_hidden in enumerate(hidden.flatten().tolist()):
            if not is_hidden:
                sequence.append(tokens[0, place] + positions[extra + place])
        x = plain.pre_norm(torch.stack(sequence)[None])
        levels = []
        for layer in plain.layers:
            x = layer(x)
            levels.append(x)
        batch.append(levels)
    return [torch.cat(level) for level in zip(*batch, strict=True)]


def loop_decode(decoder, tokens, mask, target_stride):
    """A LevelDecoder, an image at a time, every token put in its place by hand."""
    rows, cols = mask.shape[1:]
    extra = decoder.num_extra_tokens
    positions = loop_positions((rows, cols), decoder.embed_dims)
    batch = []
    for image, hidden in zip(tokens, mask.expand(len(tokens), -1, -1), strict=True):
        norm = F.layer_norm(image, image.shape[-1:], decoder.norm.weight, decoder.norm.bias, 1e-6)
        embedded = list(norm @ decoder.embed.weight.T + decoder.embed.bias)
        sequence = [embedded.pop(0) for _ in range(extra)]
        for place, is_hidden in enumerate(hidden.flatten().tolist()):
            token = decoder.mask_token[0, 0] if is_hidden else embedded.pop(0)
            sequence.append(token + positions[place])
        x = decoder.block(torch.stack(sequence)[None])[0, extra:]
        x = F.layer_norm(x, x.shape[-1:], decoder.out_norm.weight, decoder.out_norm.bias, 1e-6)
        batch.append(torch.stack([torch.stack(list(x[r * cols:(r + 1) * cols]), dim=-1)
                                  for r in range(rows)], dim=-2))  # (D, rows, cols)
    x = _loop_resize(decoder, torch.stack(batch), decoder.feature_stride / target_stride)
    weight = decoder.predict.weight[:, :, 0, 0]
    return torch.einsum('bdrc,od->borc', x, weight) + decoder.predict.bias[:, None, None]


def _loop_resize(decoder, x, factor):
    if factor <= 1:
        size = round(1 / factor)
        rows, cols = x.shape[2] // size, x.shape[3] // size
        cells = [[x[:, :, r * size:(r + 1) * size, c * size:(c + 1) * size].mean((2, 3))
                  for c in range(cols)] for r in range(rows)]
        return torch.stack([torch.stack(row, dim=-1) for row in cells], dim=-2)
    steps = round(math.log2(factor))
    layers = list(decoder.resize)
    for step in range(steps):
        layer = layers[3 * step]
        doubled = torch.einsum('bdrc,doij->boricj', x, layer.weight)
        x = doubled.flatten(4, 5).flatten(2, 3) + layer.bias[:, None, None]
        if step < steps - 1:
            norm = layers[3 * step + 1]
            x = F.layer_norm(x.movedim(1, -1), x.shape[1:2], norm.weight, norm.bias, 1e-6)
            x = (x * 0.5 * (1 + torch.erf(x / 2**0.5))).movedim(-1, 1)
    return x


def loop_targets(images, wavelet='haar', mode='periodization', levels=(2, 3, 4, 5),
                 approximation='coarsest', norm='token', eps=1e-6):
    """Wavelet targets by PyWavelets, one level after the other, as float64 arrays."""
    current, targets = np.asarray(images, dtype=np.float64), []
    for level in range(1, max(levels) + 1):
        current, details = pywt.dwt2(current, wavelet, mode, axes=(-2, -1))
        if level in levels:
            with_approximation = approximation == 'all' or (
                approximation == 'coarsest' and level == max(levels))
            bands = ([current] if with_approximation else []) + list(details)
            targets.append(_loop_normalise(np.concatenate(bands, axis=1), norm, eps))
    return targets


def _loop_normalise(target, norm, eps):
    batch, channels, rows, cols = target.shape
    result = target.copy()
    for b in range(batch):
        if norm == 'token':
            for r in range(rows):
                for c in range(cols):
                    values = target[b, :, r, c]
                    result[b, :, r, c] = (values - values.mean()) / np.sqrt(
                        values.var(ddof=1) + eps)
        elif norm == 'subband':
            for channel in range(channels):
                values = target[b, channel]
                result[b, channel] = (values - values.mean()) / np.sqrt(values.var(ddof=1) + eps)
    return result


def loop_loss(predictions, targets, mask, weights=LOSS_WEIGHTS, distance='l2'):
    """The weighted loss of each level, a position at a time."""
    losses = []
    for prediction, target, weight in zip(predictions, targets, weights, strict=True):
        batch, channels, rows, cols = target.shape
        share = loop_rescale(mask, (rows, cols)).expand(batch, -1, -1)
        total, norm = 0., 0.
        for b in range(batch):
            for r in range(rows):
                for c in range(cols):
                    if share[b, r, c]:
                        error = prediction[b, :, r, c] - target[b, :, r, c]
                        if distance == 'smooth_l1':
                            error = torch.where(error.abs() < 1, error**2 / 2, error.abs() - 0.5)
                        else:
                            error = error.abs() if distance == 'l1' else error * error
                        total = total + share[b, r, c] * error.sum() / channels
                        norm = norm + share[b, r, c]
        losses.append(weight * total / norm)
    return losses


def norm(x, layer):
    return F.layer_norm(x, x.shape[-1:], layer.weight, layer.bias, 1e-6)


def attend(query, key, value, heads):
    """One query after the other, one head after the other."""
    width, rows = query.shape[-1] // heads, []
    for q in query:
        parts = []
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            scores = torch.stack([(q[part] * k[part]).sum() for k in key]) / width**0.5
            parts.append((scores.softmax(0)[:, None] * value[:, part]).sum(0))
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def loop_mae(made, features, mask):
    """(rows * cols, C) of one image, of features (tokens, width) of each level."""
    grid, heads = tuple(mask.shape), made.blocks[0].attn.num_heads
    fused = features[-1]
    if len(features) > 1:
        shares = torch.exp(made.fusion) / torch.exp(made.fusion).sum()
        fused = shares[-1] * features[-1] + sum(
            share * (level @ layer.weight.T + layer.bias)
            for share, layer, level in zip(shares, made.project, features, strict=False))
    tokens = list(norm(fused, made.norm) @ made.embed.weight.T + made.embed.bias)
    sequence = [tokens.pop(0)]
    for place, hidden in enumerate(mask.flatten().tolist()):
        token = made.mask_token[0, 0] if hidden else tokens.pop(0)
        sequence.append(token + loop_positions(grid, len(token))[place])
    x = torch.stack(sequence)
    for block in made.blocks:
        q, k, v = (norm(x, block.ln1) @ block.attn.qkv.weight.T + block.attn.qkv.bias).chunk(3, 1)
        x = x + block.attn.proj(attend(q, k, v, heads))
        first, last = block.ffn.layers[0][0], block.ffn.layers[1]
        x = x + last(F.gelu(first(norm(x, block.ln2))))
    return made.predict(norm(x, made.out_norm))[1:]


def loop_cross(made, features, grid):
    """(rows * cols, C) of one image: each place asks by itself."""
    cells, token = [], made.mask_token[0, 0]
    for position in loop_positions(grid, len(token)):
        x = (token + position)[None]
        for shares, block in zip(made.shares, made.blocks, strict=True):
            memory = norm(sum(s * level for s, level in zip(shares, features, strict=True)),
                          block.memory_norm)
            k, v = (memory @ block.key_value.weight.T + block.key_value.bias).chunk(2, 1)
            x = x + block.proj(attend(block.query(norm(x, block.ln1)), k, v, block.num_heads))
            first, last = block.ffn.layers[0][0], block.ffn.layers[1]
            x = x + last(F.gelu(first(norm(x, block.ln2))))
        cells.append(made.predict(norm(x, made.out_norm))[0])
    return torch.stack(cells)
