import pytest
import torch
from mmpretrain.models import VisionTransformer

from mmwamim.models import MaskedViT
from mmwamim.models.masking import draw_mask

TINY = dict(embed_dims=32, num_layers=4, num_heads=2, feedforward_channels=64)


def build(seed=0, **fields):
    torch.manual_seed(seed)
    fields = {'img_size': 64, 'out_indices': (0, 1, 2, 3), **fields}
    encoder = MaskedViT(arch=TINY, **fields)
    encoder.init_weights()
    for parameter in encoder.parameters():  # away from zeros and ones, which hide mistakes
        parameter.data += 0.1 * torch.randn_like(parameter)
    return encoder


def stock(encoder, **fields):
    plain = VisionTransformer(arch=TINY, img_size=encoder.img_size, patch_size=encoder.mask_unit,
                              in_channels=encoder.patch_embed.projection.in_channels, **fields)
    plain.load_state_dict(encoder.state_dict(), strict=True)
    return plain


def encode_visible_slowly(plain, images, mask):
    """The plain parent's parts, on the visible tokens alone, an image at a time."""
    batch = []
    for image, hidden in zip(images, mask.expand(len(images), -1, -1)):
        tokens = plain.patch_embed(image[None])[0][0] + plain.pos_embed[0, 1:]
        kept = [tokens[i] for i, h in enumerate(hidden.flatten().tolist()) if not h]
        x = torch.stack([plain.cls_token[0, 0] + plain.pos_embed[0, 0], *kept])[None]
        levels = []
        for layer in plain.layers:
            x = layer(x)
            levels.append(x)
        batch.append(levels)
    return [torch.cat(level) for level in zip(*batch)]


@pytest.mark.parametrize('size, patch, channels', [((64, 64), 16, 3), ((64, 64), 8, 3),
                                                   ((160, 224), 16, 3), ((64, 64), 16, 1),
                                                   ((64, 64), 16, 4)])
@pytest.mark.parametrize('shared', [False, True])
def test_masked_features_are_the_parents_on_visible_tokens(size, patch, channels, shared):
    encoder = build(img_size=size, patch_size=patch, in_channels=channels)
    plain = stock(encoder)
    images = torch.randn(2, channels, *size)
    mask = draw_mask(1 if shared else 2, (size[0] // patch, size[1] // patch), 0.75)
    expected = encode_visible_slowly(plain, images, mask)
    features = encoder(images, mask)
    assert len(features) == 4
    for ours, theirs in zip(features, expected):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    sum(level.square().sum() for level in features).backward()
    sum(level.square().sum() for level in expected).backward()
    gradients = dict(plain.named_parameters())
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            theirs = gradients[name].grad
            torch.testing.assert_close(parameter.grad, theirs, rtol=1e-4,
                                       atol=1e-5 * theirs.abs().max().item())


@pytest.mark.parametrize('out_type', ['raw', 'cls_token', 'featmap', 'avg_featmap'])
def test_without_a_mask_it_is_its_parent(out_type):
    encoder = build(out_type=out_type).eval()
    plain = stock(encoder, out_type=out_type, out_indices=[0, 1, 2, 3])
    plain.eval()
    images = torch.randn(2, 3, 64, 64)
    for ours, theirs in zip(encoder(images), plain(images), strict=True):
        assert torch.equal(ours, theirs)


def test_another_image_size_interpolates_positions_like_the_parent():
    encoder = build(out_indices=(3, ), final_norm=False).eval()
    plain = stock(encoder, out_type='raw', final_norm=False)
    images = torch.randn(1, 3, 96, 128)
    # Only one unit more than none may be masked away without changing the others: compare with
    # attention switched off in all layers, so that tokens do not see each other.
    for model in (encoder, plain):
        for layer in model.layers:
            torch.nn.init.zeros_(layer.attn.proj.weight)
    mask = draw_mask(1, (6, 8), 0.5)
    dense = plain(images)[0][0, 1:][~mask.flatten()]
    torch.testing.assert_close(encoder(images, mask)[0][0, 1:], dense, rtol=0, atol=1e-5)


def test_out_indices_may_be_negative_and_are_not_written_to():
    wanted = [1, -1]
    assert MaskedViT(arch=TINY, img_size=64, out_indices=wanted).out_indices == [1, 3]
    assert wanted == [1, -1]


def test_initial_positions_are_fixed_and_the_class_token_is_not_zero():
    encoder = MaskedViT(arch=TINY, img_size=64, out_indices=-1)
    encoder.init_weights()
    assert not encoder.pos_embed.requires_grad
    assert encoder.pos_embed[0, 0].abs().max() == 0
    assert 0 < encoder.cls_token.std() < 0.1
    bound = (6 / (32 + 3 * 16 * 16))**0.5
    weight = encoder.patch_embed.projection.weight
    assert 0.95 * bound < weight.abs().max() <= bound


def test_init_weights_keeps_a_loaded_checkpoint(tmp_path):
    source = build()
    path = str(tmp_path / 'encoder.pth')
    state = {f'backbone.{name}': value for name, value in source.state_dict().items()}
    torch.save(dict(state_dict=state), path)
    loaded = MaskedViT(arch=TINY, img_size=64, out_indices=-1,
                       init_cfg=dict(type='Pretrained', checkpoint=path, prefix='backbone.'))
    loaded.init_weights()
    for name, value in source.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_eval_returns_the_module():
    encoder = build()
    assert encoder.eval() is encoder and not encoder.training


@pytest.mark.parametrize('fields, error, message', [
    (dict(out_indices=(0, 4)), ValueError, 'out_indices'),
    (dict(out_indices=(2, 1)), ValueError, 'out_indices'),
    (dict(patchsize=8), TypeError, 'patchsize'),
    (dict(frozen_stages=1), TypeError, 'frozen_stages'),
])
def test_bad_fields_are_named(fields, error, message):
    with pytest.raises(error, match=message):
        MaskedViT(**{'arch': TINY, 'img_size': 64, 'out_indices': -1, **fields})


def test_images_and_masks_that_do_not_fit():
    encoder = build()
    with pytest.raises(ValueError, match='divisible by the patch size 16'):
        encoder(torch.zeros(1, 3, 60, 64), torch.zeros(1, 4, 4).bool())
    with pytest.raises(ValueError, match=r'\(2 or 1, 4, 4\)'):
        encoder(torch.zeros(2, 3, 64, 64), torch.zeros(2, 8, 8).bool())
