import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmwamim.models import LevelDecoder, MultiLevelDecoder
from mmwamim.models.draws import draw_level, draw_noise, keys_in_parts, tokens_of
from mmwamim.models.masking import MaskPlan, draw_mask, rescale_mask
from tests.engine.test_compile import MODELS
from tests.support.models import build_wamim, level_losses, noise, shake
from tests.support.references import _loop_resize, loop_positions

GRID = (8, 12)
CELLS = [(1, 1), (2, 2), (4, 2)]


def draw(tokens=(1, 1), batch=3, shared=False, share=0.25, seed=0, mask=None):
    torch.manual_seed(seed)
    mask = draw_mask(1 if shared else batch, GRID, 0.75) if mask is None else mask
    plan = MaskPlan.from_mask(mask)
    cells = mask.shape[1] // tokens[0] * (mask.shape[2] // tokens[1])
    return plan, draw_level(plan, draw_noise(batch, cells), share, tokens)


@pytest.mark.parametrize('shared', [False, True])
@pytest.mark.parametrize('tokens', CELLS)
def test_a_draw_against_counting(tokens, shared):
    plan, drawn = draw(tokens, shared=shared)
    per_cell, cols = tokens[0] * tokens[1], GRID[1] // tokens[1]
    count = round(72 / 4 / per_cell)
    assert drawn.cells.shape == (3, count) and drawn.keys.shape == (3, count * per_cell)
    sequences = torch.cat([plan.visible.expand(3, -1), drawn.keys], dim=1).tolist()
    for image, mask in enumerate(plan.mask.expand(3, -1, -1)):
        cells, keys = drawn.cells[image].tolist(), drawn.keys[image].tolist()
        tokens_in = [[(cell // cols * tokens[0] + r) * GRID[1] + cell % cols * tokens[1] + c
                      for r in range(tokens[0]) for c in range(tokens[1])]
                     for cell in range(GRID[0] * GRID[1] // per_cell)]
        masked = [sum(bool(mask.flatten()[token]) for token in inside) for inside in tokens_in]
        assert sorted(set(cells)) == cells and all(masked[cell] for cell in cells)
        assert len(set(keys)) == len(keys) and mask.flatten()[keys].all()
        asked = [token for cell in cells for token in tokens_in[cell]]
        assert {token for token in asked if mask.flatten()[token]} <= set(keys)
        if drawn.places is not None:
            assert [sequences[image][place] for place in drawn.places[image]] == asked
        weights = torch.zeros(len(masked))
        for cell in cells:
            possible = sum(number > 0 for number in masked)
            weights[cell] = masked[cell] / per_cell * possible / count
        torch.testing.assert_close(drawn.weights[image].flatten(), weights)


@pytest.mark.parametrize('tokens', CELLS)
def test_weights_are_the_masked_shares_in_the_mean(tokens):
    plan, drawn = draw(tokens, batch=6000, shared=True)
    shares = rescale_mask(plan.mask, drawn.weights.shape[1:])[0]
    # Of 6000 draws a weight's deviation is 0.022, so this is five of them.
    assert (drawn.weights.mean(0) - shares).abs().max() < 0.11
    assert drawn.weights.mean().item() == pytest.approx(0.75, rel=0.01)


def test_cells_without_anything_masked_are_never_drawn():
    mask = torch.zeros(1, 4, 4).bool()
    mask[:, 2:] = True
    plan, drawn = draw((2, 2), batch=50, mask=mask, share=0.9)
    assert (drawn.cells >= 2).all() and drawn.cells.shape == (50, 2)
    assert torch.equal(drawn.weights, rescale_mask(mask, (2, 2)).expand(50, -1, -1))


def test_images_and_levels_draw_their_own_of_the_mask_that_is_drawn_without():
    torch.manual_seed(0)
    model = build_wamim(decode_ratio=0.25, levels=(2, 3, 4, 4))
    images = torch.zeros(5, 3, 64, 64)
    torch.manual_seed(1)
    plan = model.plan_mask(images)
    first, second, coarse, other = plan.draws
    assert first.cells.shape == second.cells.shape == (5, 12) and coarse.cells.shape == (5, 3)
    assert not torch.equal(first.cells, second.cells) and not torch.equal(coarse.cells, other.cells)
    assert len({tuple(cells) for cells in first.cells.tolist()}) == 5
    assert all(plan.mask.flatten(1).gather(1, first.cells).flatten())
    torch.manual_seed(1)
    assert torch.equal(build_wamim_mask(images), plan.mask)


def build_wamim_mask(images):
    state = torch.get_rng_state()
    model = build_wamim()
    torch.set_rng_state(state)
    return model.plan_mask(images).mask


@pytest.mark.parametrize('kind', ['vit_partly', 'swin_partly'])
def test_the_loss_of_given_predictions_is_that_of_all_cells_in_the_mean(kind):
    """One mask for 1500 images that are all the same, each with draws of its own."""
    model = MODELS[kind]()
    model.shared_mask = True
    plan = model.plan_mask(torch.zeros(1500, 3, 64, 64))
    targets = [noise(1, level.predict.out_channels, *[64 // level.target_stride] * 2, seed=i)
               for i, level in enumerate(model.neck.levels)]
    predictions = [target + noise(*target.shape, seed=9) * noise(*target.shape[2:], seed=8)
                   for target in targets]
    full = model.head(predictions, targets, plan._replace(draws=None))
    ours = model.head([p.expand(1500, -1, -1, -1) for p in predictions],
                      [t.expand(1500, -1, -1, -1) for t in targets], plan)
    torch.testing.assert_close(level_losses(ours), level_losses(full), rtol=0.03, atol=0)
    for name, value in full.items():
        if 'explained' in name:
            torch.testing.assert_close(ours[name], value, rtol=0.02, atol=0.02)


def decoder_of(target_stride, extra=1):
    torch.manual_seed(0)
    return shake(LevelDecoder(24, 9, 16, target_stride, 16, 2, 4., extra,
                              dict(type='LN', eps=1e-6))).double()


def slow_cells(decoder, image, mask, drawn, index):
    """The map of one image: a block on the visible and the drawn tokens, each put by hand."""
    extra, (rows, cols) = decoder.num_extra_tokens, mask.shape
    positions = loop_positions((rows, cols), decoder.embed_dims)
    embedded = decoder.embed(F.layer_norm(image, image.shape[-1:], decoder.norm.weight,
                                          decoder.norm.bias, 1e-6))
    seen = (~mask.flatten()).nonzero().flatten().tolist()
    keys = drawn.keys[index].tolist()
    tokens = list(embedded[:extra])
    tokens += [embedded[extra + i] + positions[token] for i, token in enumerate(seen)]
    tokens += [decoder.mask_token[0, 0] + positions[token] for token in keys]
    x = decoder.block(torch.stack(tokens)[None])[0, extra:]
    x = F.layer_norm(x, x.shape[-1:], decoder.out_norm.weight, decoder.out_norm.bias, 1e-6)
    full = x.new_zeros(rows * cols, x.shape[1])
    for token, value in zip(seen + keys, x, strict=True):
        full[token] = value
    full = full.T.unflatten(1, (rows, cols))[None]
    full = _loop_resize(decoder, full, decoder.feature_stride / decoder.target_stride)
    weight = decoder.predict.weight[:, :, 0, 0]
    return (torch.einsum('bdrc,od->borc', full, weight) + decoder.predict.bias[:, None, None])[0]


@pytest.mark.parametrize('shared', [False, True])
@pytest.mark.parametrize('target_stride, extra', [(4, 1), (16, 0), (32, 1), (64, 0)])
def test_drawn_cells_equal_a_slow_reference_and_others_are_zero(target_stride, extra, shared):
    decoder = decoder_of(target_stride, extra)
    plan, drawn = draw((max(1, target_stride // 16), ) * 2, batch=2, shared=shared)
    tokens = noise(2, extra + plan.num_visible, 24).double()
    ours = decoder(tokens, plan, True, drawn)
    counts = drawn.weights > 0
    up = max(1, 16 // target_stride)
    counts = counts.repeat_interleave(up, 1).repeat_interleave(up, 2)
    assert (ours * ~counts[:, None]).abs().sum() == 0
    for index in range(2):
        expected = slow_cells(decoder, tokens[index], plan.mask.expand(2, -1, -1)[index], drawn,
                              index)
        torch.testing.assert_close(ours[index], expected * counts[index], rtol=0, atol=1e-5)
    decoder.zero_grad()
    ours.square().sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize('target_stride', [16, 32])
def test_gradients_equal_those_of_the_slow_reference(target_stride):
    decoder = decoder_of(target_stride)
    plan, drawn = draw((target_stride // 16, ) * 2, batch=1)
    tokens = noise(1, 1 + plan.num_visible, 24).double().requires_grad_()
    found = []
    for output in (decoder(tokens, plan, True, drawn)[0],
                   slow_cells(decoder, tokens[0], plan.mask[0], drawn, 0)):
        loss = (output.square() * (drawn.weights[0] > 0)).sum()
        found.append(torch.autograd.grad(loss, [tokens, *decoder.parameters()]))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('target_stride', [16, 32])
def test_in_evaluation_all_cells_are_decoded_each_as_if_its_part_was_drawn(target_stride):
    decoder, ratio = decoder_of(target_stride), target_stride // 16
    plan, drawn = draw((ratio, ratio), batch=1)
    tokens = noise(1, 1 + plan.num_visible, 24).double()
    everything = decoder(tokens, plan, False, drawn)[0]
    allowed = keys_in_parts(plan, drawn)[0, 0]
    seen = set()
    for row, place in zip(allowed, plan.order[0].tolist(), strict=True):
        if not plan.mask[0].flatten()[place]:
            continue
        keys = plan.order[0][row]
        assert row[:plan.num_visible].all()
        part = drawn._replace(keys=keys[None, plan.num_visible:])
        cell = place // GRID[1] // ratio * (GRID[1] // ratio) + place % GRID[1] // ratio
        if cell in seen:
            continue
        seen.add(cell)
        expected = slow_cells(decoder, tokens[0], plan.mask[0], part, 0).flatten(1)[:, cell]
        torch.testing.assert_close(everything.flatten(1)[:, cell], expected, rtol=0, atol=1e-5)
    assert 3 <= len({tuple(row.tolist()) for row in allowed}) <= 8
    assert len(seen) >= drawn.weights[0].numel() * 0.7


def test_pictures_have_predictions_everywhere():
    model = MODELS['vit_partly']().eval()
    for level in shake(model).predict_targets(noise(2, 3, 64, 64))[0]:
        assert (level.abs().sum(1) > 0).all()


def test_tokens_of_cells_by_hand():
    assert tokens_of(torch.tensor([[0, 5]]), 3, (2, 2)).tolist() == [[0, 1, 6, 7, 16, 17, 22, 23]]


def flops(neck, batch, drawn):
    plan = MaskPlan.from_mask(draw_mask(batch, (14, 14), 0.75))
    if drawn:
        plan = plan._replace(draws=tuple(
            draw_level(plan, draw_noise(batch, cells), 0.25, (side, side))
            for cells, side in ((196, 1), (49, 2))))
    # Of attention the counter sees on every device the products of its plain form alone.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        neck([torch.zeros(batch, 50, 192)] * 2, plan)
    return counter.get_total_flops()


def test_flops_of_a_quarter_as_counted_by_hand():
    """In the geometry of ViT/16 at 224 px; of a second image, without what a batch shares."""
    dims, visible, extra = 64, 49, 1
    neck = MultiLevelDecoder([192] * 2, [16] * 2, [48, 48], [8, 32], 16, extra, dims, 2)
    ours = flops(neck, 2, True) - flops(neck, 1, True)
    full = flops(neck, 2, False) - flops(neck, 1, False)
    tokens = extra + visible
    embed, key_value = tokens * 192 * dims, tokens * dims * 2 * dims
    after = dims * dims + 8 * dims * dims  # a decoded token's output layer and MLP
    first = embed + key_value + 37 * (after + 2 * (tokens + 37) * dims + dims * 4 * 48)
    second = embed + key_value + visible * dims * dims + 36 * (
        after + 2 * (tokens + 36) * dims) + 9 * dims * 48
    assert ours == 2 * (first + second) and ours < 0.4 * full


@pytest.mark.parametrize('ratio', [0, 1, -0.1, 1.5])
def test_a_bad_share_is_named(ratio):
    with pytest.raises(ValueError, match=f'decode_ratio .* not {ratio}'):
        build_wamim(decode_ratio=ratio)


def test_what_cannot_be_drawn_is_told():
    with pytest.raises(ValueError, match='decode_ratio and predict_ratio'):
        build_wamim(decode_ratio=0.25, predict_ratio=0.25)
    with pytest.raises(ValueError, match='MAEDecoder cannot decode a share'):
        build_wamim(decode_ratio=0.25, levels=(3, ), backbone=dict(out_indices=(3, )),
                    neck=dict(type='mmwamim.MAEDecoder', num_heads=4, depth=1),
                    head=dict(loss_weights=(1., )))
    with pytest.raises(ValueError, match='5x4 tokens cannot be decoded in whole cells of 2x2'):
        draw((2, 2), mask=draw_mask(1, (5, 4), 0.5))
