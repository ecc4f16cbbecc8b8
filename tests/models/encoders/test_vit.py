import pytest
import torch
from mmpretrain.models import VisionTransformer

from mmwamim.errors import UserError
from mmwamim.models import MaskedViT
from mmwamim.models.masking import draw_mask
from tests.support.encoder_contract import EncoderContract
from tests.support.models import TINY, noise, shake
from tests.support.references import loop_encode


def build(seed=0, **fields):
    torch.manual_seed(seed)
    encoder = MaskedViT(**{'arch': TINY, 'img_size': 64, 'out_indices': (0, 1, 2, 3), **fields})
    encoder.init_weights()
    return shake(encoder)


def stock(encoder, **fields):
    plain = VisionTransformer(arch=TINY, img_size=encoder.img_size, patch_size=encoder.mask_unit,
                              in_channels=encoder.patch_embed.projection.in_channels, **fields)
    plain.load_state_dict(encoder.state_dict(), strict=True)
    return plain.to(encoder.pos_embed.dtype)


class TestContract(EncoderContract):

    def build(self, **fields):
        return MaskedViT(**{'arch': TINY, 'img_size': self.size, 'patch_size': 16,
                            'out_indices': (0, 1, 2, 3), 'out_type': 'raw', **fields})

    def build_stock(self):
        return VisionTransformer(arch=TINY, img_size=self.size, patch_size=16, out_type='raw',
                                 out_indices=[0, 1, 2, 3])


def assert_equal_to_loop(encoder, plain, images, mask):
    """Features and gradients, in float64."""
    encoder.double(), plain.double()
    expected = loop_encode(plain, images.double(), mask)
    features = encoder(images.double(), mask)
    assert len(features) == len(encoder.out_indices)
    expected = [expected[index] for index in encoder.out_indices]
    for ours, theirs in zip(features, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    for index, (ours, theirs) in enumerate(zip(features, expected, strict=True)):
        probe = noise(*ours.shape, seed=index).double()
        (ours * probe).sum().backward(retain_graph=True)
        (theirs * probe).sum().backward(retain_graph=True)
    reference = dict(plain.named_parameters())
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad and reference[name].grad is not None:
            torch.testing.assert_close(parameter.grad, reference[name].grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('size, patch, channels', [((64, 64), 16, 3), ((64, 64), 8, 3),
                                                   ((160, 224), 16, 3), ((64, 64), 16, 1),
                                                   ((64, 64), 16, 4)])
@pytest.mark.parametrize('shared', [False, True])
def test_masked_features_are_the_parents_on_visible_tokens(size, patch, channels, shared):
    encoder = build(img_size=size, patch_size=patch, in_channels=channels)
    mask = draw_mask(1 if shared else 2, (size[0] // patch, size[1] // patch), 0.75)
    assert_equal_to_loop(encoder, stock(encoder), noise(2, channels, *size), mask)


@pytest.mark.parametrize('fields', [dict(with_cls_token=False, out_type='raw'),
                                    dict(pre_norm=True), dict(layer_scale_init_value=0.1),
                                    dict(final_norm=False), dict(qkv_bias=False)])
def test_variants_of_the_parent(fields):
    encoder = build(**fields)
    assert_equal_to_loop(encoder, stock(encoder, **fields), noise(2, 3, 64, 64),
                         draw_mask(2, (4, 4), 0.5))


@pytest.mark.parametrize('size', [(96, 128), (32, 64)])
def test_positions_of_another_image_size_are_interpolated(size):
    encoder = build()
    mask = draw_mask(2, (size[0] // 16, size[1] // 16), 0.5)
    assert_equal_to_loop(encoder, stock(encoder), noise(2, 3, *size), mask)


@pytest.mark.parametrize('size', [(64, 64), (96, 128)])
def test_nothing_masked_is_the_parents_forward_pass(size):
    encoder = build(final_norm=False, out_type='raw').double()
    dense = stock(encoder, final_norm=False, out_type='raw', out_indices=[0, 1, 2, 3])
    images = noise(2, 3, *size).double()
    mask = torch.zeros(1, size[0] // 16, size[1] // 16).bool()
    for ours, theirs in zip(encoder(images, mask), dense(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize('fields', [dict(), dict(layer_scale_init_value=0.1, qkv_bias=False)])
def test_nothing_masked_gives_the_parents_gradients(fields):
    encoder = build(final_norm=False, out_type='raw', **fields).double()
    dense = stock(encoder, final_norm=False, out_type='raw', out_indices=[0, 1, 2, 3], **fields)
    images, mask = noise(2, 3, 64, 64).double(), torch.zeros(1, 4, 4).bool()
    for features in (encoder(images, mask), dense(images)):
        sum((level**2).sum() for level in features).backward()
    theirs = dict(dense.named_parameters())
    for name, ours in encoder.named_parameters():
        if ours.requires_grad:
            torch.testing.assert_close(ours.grad, theirs[name].grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('out_type', ['raw', 'cls_token', 'featmap', 'avg_featmap'])
def test_without_a_mask_it_is_its_parent(out_type):
    encoder = build(out_type=out_type).eval()
    plain = stock(encoder, out_type=out_type, out_indices=[0, 1, 2, 3])
    plain.eval()
    images = noise(2, 3, 64, 64)
    for ours, theirs in zip(encoder(images), plain(images), strict=True):
        assert torch.equal(ours, theirs)


def test_drop_path_acts_in_training_only():
    encoder = build(drop_path_rate=0.5)
    images, mask = noise(2, 3, 64, 64), draw_mask(2, (4, 4), 0.5)
    expected = loop_encode(stock(encoder), images, mask)
    for ours, theirs in zip(encoder.eval()(images, mask), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)
    encoder.train()
    assert not torch.equal(encoder(images, mask)[-1], encoder(images, mask)[-1])


@pytest.mark.parametrize('given, layers', [((0, 3), [0, 3]), ((1, -1), [1, 3]), ([1, -1], [1, 3]),
                                           ((-4, -3, -2, -1), [0, 1, 2, 3]), (2, [2]), (-1, [3])])
def test_out_indices_name_layers_from_either_end(given, layers):
    before = list(given) if isinstance(given, list) else given
    encoder = build(out_indices=given)
    assert given == before
    assert encoder.out_indices == layers
    assert encoder.feature_channels == (32, ) * len(layers)
    assert_equal_to_loop(encoder, stock(encoder), noise(1, 3, 64, 64), draw_mask(1, (4, 4), 0.5))


def test_attributes_follow_the_patch_size():
    encoder = build(patch_size=8, with_cls_token=False, out_type='raw')
    assert encoder.mask_unit == 8 and encoder.num_extra_tokens == 0
    assert encoder.feature_strides == (8, ) * 4
    assert build().num_extra_tokens == 1


def test_initial_positions_are_fixed_and_the_class_token_is_not_zero():
    from mmpretrain.models.utils import build_2d_sincos_position_embedding
    torch.manual_seed(0)
    encoder = MaskedViT(arch=TINY, img_size=64, out_indices=-1)
    encoder.init_weights()
    assert not encoder.pos_embed.requires_grad
    assert encoder.pos_embed[0, 0].abs().max() == 0
    assert torch.equal(encoder.pos_embed[:, 1:], build_2d_sincos_position_embedding(4, 32))
    assert 0.01 < encoder.cls_token.std() < 0.03
    bound = (6 / (32 + 3 * 16 * 16))**0.5
    weight = encoder.patch_embed.projection.weight
    assert 0.95 * bound < weight.abs().max() <= bound


@pytest.mark.parametrize('as_list', [False, True])
def test_init_weights_keeps_a_loaded_checkpoint(tmp_path, as_list):
    source = build()
    path = str(tmp_path / 'encoder.pth')
    state = {f'backbone.{name}': value for name, value in source.state_dict().items()}
    torch.save(dict(state_dict=state), path)
    init_cfg = dict(type='Pretrained', checkpoint=path, prefix='backbone.')
    loaded = MaskedViT(arch=TINY, img_size=64, out_indices=-1,
                       init_cfg=[init_cfg] if as_list else init_cfg)
    loaded.init_weights()
    for name, value in source.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


@pytest.mark.parametrize('fields, error, message', [
    (dict(out_indices=(0, 4)), ValueError, r'out_indices \(0, 4\)'),
    (dict(out_indices=(-5, )), ValueError, 'out_indices'),
    (dict(out_indices=(2, 1)), ValueError, 'out_indices'),
    (dict(out_indices=(1, 1)), ValueError, 'out_indices'),
    (dict(out_indices=()), ValueError, 'out_indices'),
    (dict(patchsize=8), TypeError, 'patchsize'),
    (dict(frozen_stages=1), TypeError, 'frozen_stages'),
    (dict(patch_cfg=dict(stride=8)), TypeError, 'patch_cfg'),
    (dict(patch_size=(8, 16)), ValueError, 'patch_size must be square'),
    (dict(arch={**TINY, 'num_heads': 3}), ValueError, 'must be a multiple of num_heads 3'),
    (dict(drop_path_rate=2.), ValueError, 'drop_path_rate must be at least 0 and less than 1'),
    (dict(drop_path_rate=-.1), ValueError, 'drop_path_rate must be at least 0 and less than 1'),
])
def test_bad_fields_are_named(fields, error, message):
    with pytest.raises(error, match=message):
        MaskedViT(**{'arch': TINY, 'img_size': 64, 'out_indices': -1, **fields})


def test_images_and_masks_that_do_not_fit():
    encoder = build()
    with pytest.raises(UserError, match='60x64 must be divisible by the patch size 16'):
        encoder(torch.zeros(1, 3, 60, 64), torch.zeros(1, 4, 4).bool())
    with pytest.raises(ValueError, match=r'\(2 or 1, 4, 4\)'):
        encoder(torch.zeros(2, 3, 64, 64), torch.zeros(2, 8, 8).bool())
    with pytest.raises(ValueError, match='same number of visible units'):
        encoder(torch.zeros(2, 3, 64, 64), torch.eye(8)[:2].bool().view(2, 2, 4).repeat(1, 2, 1)
                & torch.tensor([True, False]).view(2, 1, 1))
