import math

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models import SwinTransformer
from mmpretrain.models.utils import ShiftWindowMSA

from mmwamim.errors import UserError
from mmwamim.models import SparseSwin
from mmwamim.models.encoders import swin
from mmwamim.models.masking import draw_mask
from tests.support.encoder_contract import EncoderContract
from tests.support.models import noise, shake

TINY = dict(embed_dims=16, depths=[2, 2, 4, 2], num_heads=[1, 2, 4, 8])


def build(seed=0, **fields):
    torch.manual_seed(seed)
    encoder = SparseSwin(**{'arch': TINY, **fields})
    encoder.init_weights()
    return shake(encoder)


def stock(encoder, **fields):
    """The dense parent with the same weights, whose features are taken after merging."""
    cfgs = [dict(window_size=window) for window in encoder.stage_windows]
    dense = SwinTransformer(**{
        'arch': TINY, 'out_indices': encoder.out_indices, 'out_after_downsample': True,
        'norm_cfg': None, 'drop_path_rate': 0., 'stage_cfgs': cfgs,
        'in_channels': encoder.patch_embed.projection.in_channels,
        'patch_size': encoder.patch_size, **fields})
    missing, unexpected = dense.load_state_dict(encoder.state_dict(), strict=False)
    assert not missing and all(name.startswith('norm') for name in unexpected)
    return dense.to(next(encoder.parameters()).dtype)


class TestContract(EncoderContract):
    size = (128, 256)
    shared_masks_only = True

    def build(self, **fields):
        return SparseSwin(**{'arch': TINY, 'img_size': self.size, 'window_size': 4, **fields})

    def build_stock(self):
        return SwinTransformer(arch=TINY, img_size=self.size, window_size=4, drop_path_rate=0.,
                               out_indices=(0, 1, 2, 3))


def masked_reference(dense, images, mask, monkeypatch):
    """The dense parent on the full grid, in which no token may attend to a masked one: features
    of the visible tokens after merging, each (B, visible, C).

    Masked tokens hold numbers too, but nobody sees them: merging stays within mask units.
    """
    original = ShiftWindowMSA.get_attn_mask

    def with_mask(hw_shape, window_size, shift_size, device=None):
        rows, columns = hw_shape
        base = original(hw_shape, window_size=window_size, shift_size=shift_size, device=device)
        # Tokens along a unit: a power of two, and less than that is filled up where windows do
        # not divide the grid. What is filled up is hidden.
        high, wide = (2**int(math.log2(side / units)) for side, units in zip(
            (rows, columns), mask.shape[1:], strict=True))
        hidden = mask[0].repeat_interleave(high, 0).repeat_interleave(wide, 1)
        hidden = F.pad(hidden, (0, columns - hidden.shape[1], 0, rows - hidden.shape[0]),
                       value=True).roll((-shift_size, -shift_size), (0, 1))
        hidden = ShiftWindowMSA.window_partition(hidden[None, ..., None], window_size)
        keys = hidden.reshape(-1, 1, window_size**2) * -1e9
        return keys.expand(-1, window_size**2, -1) if base is None else base + keys

    monkeypatch.setattr(ShiftWindowMSA, 'get_attn_mask', staticmethod(with_mask))
    features = []
    for full in dense(images):
        visible = ~mask[0].repeat_interleave(full.shape[2] // mask.shape[1], 0).repeat_interleave(
            full.shape[3] // mask.shape[2], 1)
        features.append(full[:, :, visible].transpose(1, 2))  # raster order
    return features


FORMS = [  # what is built, image size, share that is masked
    (dict(), (224, 224), 0.75),
    (dict(), (224, 448), 0.75),
    (dict(), (224, 224), 0.3),
    (dict(window_size=14), (224, 224), 0.75),
    (dict(window_size=4, img_size=128), (128, 128), 0.75),
    (dict(window_size=4, img_size=256), (256, 384), 0.6),
    (dict(window_size=8, img_size=256, in_channels=1), (256, 256), 0.75),
    (dict(window_size=2, img_size=128, patch_size=8, in_channels=4), (128, 256), 0.75),
    (dict(use_abs_pos_embed=True), (224, 224), 0.75),
    (dict(use_abs_pos_embed=True), (224, 448), 0.75),
]


@pytest.mark.parametrize('form, size, ratio', FORMS)
def test_features_and_gradients_equal_a_dense_reference(form, size, ratio, monkeypatch):
    encoder = build(**form).double()
    dense = stock(encoder, **{name: form[name] for name in ('use_abs_pos_embed', ) if name in form})
    images = noise(2, form.get('in_channels', 3), *size).double()
    torch.manual_seed(1)
    mask = draw_mask(1, (size[0] // encoder.mask_unit, size[1] // encoder.mask_unit), ratio)
    expected = masked_reference(dense, images, mask, monkeypatch)
    features = encoder(images, mask)
    for ours, theirs in zip(features, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)

    for index, (ours, theirs) in enumerate(zip(features, expected, strict=True)):
        probe = noise(*ours.shape, seed=index).double()
        (ours * probe).sum().backward(retain_graph=True)
        (theirs * probe).sum().backward(retain_graph=True)
    reference = dict(dense.named_parameters())
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, reference[name].grad, rtol=1e-8, atol=1e-8,
                                       msg=lambda text, name=name: f'{name}: {text}')


@pytest.mark.parametrize('size', [(128, 128), (160, 192), (224, 224)])
def test_windows_that_do_not_divide_are_cut_off_at_the_border(size, monkeypatch):
    """The dense parent fills its grids up; here nobody sees that. It does not know that one window
    is enough where it spans the grid."""
    encoder = build(cut_windows=True).double()
    dense = stock(encoder)
    for index, stage in enumerate(dense.stages):
        for block in stage.blocks:
            block.attn.pad_small_map = True
            if min(size) // (4 << index) <= 7:
                block.attn.shift_size = 0
    images = noise(2, 3, *size).double()
    torch.manual_seed(1)
    mask = draw_mask(1, (size[0] // 32, size[1] // 32), 0.6)
    expected = masked_reference(dense, images, mask, monkeypatch)
    for ours, theirs in zip(encoder(images, mask), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize('fields, size', [(dict(), (224, 224)), (dict(), (448, 224)),
                                          (dict(window_size=14), (224, 224)),
                                          (dict(window_size=4, img_size=128), (128, 256))])
def test_nothing_masked_is_the_dense_parent_in_float32(fields, size):
    encoder = build(**fields).eval()
    dense = stock(encoder)
    dense.eval()
    images = noise(2, 3, *size)
    with torch.no_grad():
        features = encoder(images, torch.zeros(1, size[0] // 32, size[1] // 32).bool())
        expected = dense(images)
    for ours, theirs, stride in zip(features, expected, (8, 16, 32, 32), strict=True):
        assert theirs.shape[-2:] == (size[0] // stride, size[1] // stride)
        torch.testing.assert_close(ours, theirs.flatten(2).transpose(1, 2), rtol=1e-5, atol=1e-5)


def test_the_usual_arches_have_their_sizes():
    for arch, width, blocks in (('tiny', 96, 12), ('small', 96, 24), ('base', 128, 24),
                                ('large', 192, 24)):
        encoder = SparseSwin(arch=arch)
        assert encoder.feature_channels == (2 * width, 4 * width, 8 * width, 8 * width)
        assert encoder.feature_strides == (8, 16, 32, 32) and encoder.mask_unit == 32
        assert sum(len(stage.blocks) for stage in encoder.stages) == blocks


def test_windows_shrink_to_the_grid_of_late_stages():
    assert build(window_size=14).stage_windows == (14, 14, 14, 7)
    assert build(window_size=14, img_size=448).stage_windows == (14, 14, 14, 14)
    assert build().stage_windows == (7, 7, 7, 7)


def test_chosen_levels_are_those_of_all():
    mask, images = draw_mask(1, (7, 7), 0.75), noise(2, 3, 224, 224)
    encoder = build()
    some = build(out_indices=(1, 3))
    some.load_state_dict(encoder.state_dict(), strict=False)
    every = encoder(images, mask)
    for ours, theirs in zip(some(images, mask), (every[1], every[3]), strict=True):
        assert torch.equal(ours, theirs)
    assert some.feature_strides == (16, 32)


def test_drop_path_acts_in_training_only():
    encoder = build(drop_path_rate=0.5)
    images, mask = noise(2, 3, 224, 224), draw_mask(1, (7, 7), 0.75)
    encoder.eval()
    assert torch.equal(encoder(images, mask)[-1], encoder(images, mask)[-1])
    encoder.train()
    assert not torch.equal(encoder(images, mask)[-1], encoder(images, mask)[-1])


def test_more_groups_than_usual_change_nothing(monkeypatch):
    encoder, images = build(), noise(1, 3, 224, 224)
    mask = draw_mask(1, (7, 7), 0.75)
    expected = encoder(images, mask)
    original = swin.group_windows
    monkeypatch.setattr(swin, 'group_windows',
                        lambda positions, window, shift: original(positions, window, shift, 64))
    for ours, theirs in zip(encoder(images, mask), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


@pytest.mark.parametrize('as_list', [False, True])
def test_init_weights_keeps_a_loaded_checkpoint(tmp_path, as_list):
    source = build(use_abs_pos_embed=True)
    path = str(tmp_path / 'encoder.pth')
    state = {f'backbone.{name}': value for name, value in source.state_dict().items()}
    torch.save(dict(state_dict=state), path)
    init_cfg = dict(type='Pretrained', checkpoint=path, prefix='backbone.')
    loaded = SparseSwin(arch=TINY, use_abs_pos_embed=True,
                        init_cfg=[init_cfg] if as_list else init_cfg)
    loaded.init_weights()
    for name, value in source.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


@pytest.mark.parametrize('fields, error, message', [
    (dict(out_indices=(0, 4)), ValueError, r'out_indices \(0, 4\)'),
    (dict(out_indices=(2, 1)), ValueError, 'out_indices'),
    (dict(out_indices=()), ValueError, 'out_indices'),
    (dict(arch='bse'), ValueError, "'bse'"),
    (dict(out_after_downsample=True), TypeError, 'out_after_downsample'),
    (dict(pad_small_map=True), TypeError, 'pad_small_map'),
    (dict(windowsize=7), TypeError, 'windowsize'),
])
def test_bad_fields_are_named(fields, error, message):
    with pytest.raises(error, match=message):
        SparseSwin(**{'arch': TINY, **fields})


@pytest.mark.parametrize('size, mask, message', [
    # One advice for all of them, and a right one: 224 is the least multiple of 32 and of 7 tokens.
    ((240, 224), (1, 7, 7), '240x224: sides must be divisible by 224 px.*cut_windows=True'),
    ((256, 256), (1, 8, 8), '256x256: sides must be divisible by 224 px.*multiples of 32 px'),
    ((448, 224), (1, 7, 14), r'must be \(1, 14, 7\)'),
    ((224, 224), (2, 7, 7), 'shared_mask=True'),
])
def test_images_and_masks_that_do_not_fit(size, mask, message):
    with pytest.raises(ValueError, match=message):
        build()(noise(2, 3, *size), torch.zeros(mask).bool())


def test_with_cut_windows_the_mask_unit_alone_counts():
    encoder = build(cut_windows=True)
    with pytest.raises(UserError, match=r'divisible by 32 px \(the mask unit 32\)$'):
        encoder(noise(1, 3, 240, 224), torch.zeros(1, 7, 7).bool())
