"""--init: files with random weights, written by the real libraries, give their features here."""
import argparse
import json

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_patch_embed
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models._manipulate import adapt_input_conv

from mmwamim.errors import UserError
from mmwamim.models import MaskedViT, SparseSwin
from mmwamim.weights.init import fitted_state
from mmwamim.weights.names import SWIN_OFFICIAL, SWIN_TIMM
from mmwamim.weights.reading import read_source
from mmwamim.weights.resizing import change_channels, resize_patches, resize_relative
from tests.support.models import noise, shake
from tests.support.runs import PRETRAIN, prepare
from tests.support.small_data import make_images

ARCH = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
VIT = dict(embed_dim=32, depth=2, num_heads=2, mlp_ratio=2, patch_size=8, img_size=32,
           num_classes=5)
SWIN = dict(embed_dim=8, depths=(1, 2), num_heads=(1, 2), img_size=32, window_size=4,
            num_classes=5)


def our_vit(**changes):
    return MaskedViT(**{**dict(arch=ARCH, img_size=32, patch_size=8, out_indices=(0, 1),
                               out_type='featmap'), **changes})


def our_swin(**changes):
    return SparseSwin(**{**dict(arch=dict(embed_dims=8, depths=[1, 2], num_heads=[1, 2]),
                                img_size=32, window_size=4, out_indices=(0, 1)), **changes})


def begun(model, source):
    """An encoder whose weights come from a source as in a run, and from nowhere else."""
    model.init_cfg = dict(type='mmwamim.PretrainedFrom', checkpoint=str(source))
    model.init_weights()
    return model.eval()


@torch.no_grad()
def assert_same(model, theirs, images):
    """Last maps here against tokens (B, N, C) there."""
    ours = model(images)[-1].flatten(2).transpose(1, 2)
    assert ours.std() > 0.3
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


def timm_vit(**changes):
    torch.manual_seed(0)
    return shake(timm.models.vision_transformer.VisionTransformer(**{**VIT, **changes})).eval()


def timm_swin(**changes):
    torch.manual_seed(0)
    return shake(timm.models.swin_transformer.SwinTransformer(**{**SWIN, **changes})).eval()


def wrapped(state, how):
    """The state dict of timm's ViT as other authors' files keep it."""
    if how == 'MAE':
        return dict(model={**state, 'decoder_pos_embed': torch.ones(1), 'mask_token': torch.ones(1),
                           'decoder_blocks.0.norm1.weight': torch.ones(1)},
                    args=argparse.Namespace(epochs=1), epoch=3)
    if how == 'DINO':
        return dict(
            student={f'module.backbone.{k}': torch.zeros_like(v) for k, v in state.items()},
            teacher={**{f'backbone.{k}': v for k, v in state.items()}, 'head.0.weight': v0()})
    return OTHERS[how](state, {name: torch.zeros_like(value) for name, value in state.items()}) \
        if how in OTHERS else state


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


# The wanted weights, and zeros in their place, as the tools of others keep them.
OTHERS = {
    'timm with EMA': lambda good, bad: dict(state_dict=bad, state_dict_ema=good, epoch=3),
    'DeiT with EMA': lambda good, bad: dict(model=bad, model_ema=good),
    'torchvision with EMA': lambda good, bad: dict(model=bad, model_ema=dict(
        under('module.', good), n_averaged=torch.tensor(9))),
    'MMEngine with EMA': lambda good, bad: dict(
        state_dict=under('backbone.', good), ema_state_dict=under('module.backbone.', bad)),
    'I-JEPA': lambda good, bad: dict(encoder=under('module.', bad), predictor={},
                                     target_encoder=under('module.', good)),
    'Lightning': lambda good, bad: {'state_dict': under('model.', good), 'callbacks': {},
                                    'hyper_parameters': dict(lr=1.)},
    'compiled and parallel': lambda good, bad: under('module._orig_mod.', good),
    'compiled by layers, sharded': lambda good, bad: {
        f'_fsdp_wrapped_module.{name}'.replace(
            'blocks.0.', 'blocks.0._orig_mod._checkpoint_wrapped_module.'): value
        for name, value in good.items()}}


def v0():
    return torch.ones(2, 2)


@pytest.mark.parametrize('how', ['timm', 'MAE', 'DINO', *OTHERS])
def test_vit_files(how, tmp_path):
    theirs, images = timm_vit(), noise(2, 3, 32, 32)
    torch.save(wrapped(theirs.state_dict(), how), tmp_path / 'theirs.pth')
    with torch.no_grad():
        expected = theirs.forward_features(images)[:, 1:]
    assert_same(begun(our_vit(), tmp_path / 'theirs.pth'), expected, images)


def test_layer_scale_is_kept_or_folded(tmp_path):
    theirs, images = timm_vit(init_values=0.5), noise(2, 3, 32, 32)
    torch.save(theirs.state_dict(), tmp_path / 'theirs.pth')
    with torch.no_grad():
        expected = theirs.forward_features(images)[:, 1:]
    for model in (our_vit(), our_vit(layer_scale_init_value=0.1)):
        assert_same(begun(model, tmp_path / 'theirs.pth'), expected, images)


@pytest.mark.parametrize('how', ['timm', 'official', 'SimMIM'])
def test_swin_files(how, tmp_path):
    theirs, images = timm_swin(), noise(2, 3, 32, 32)
    state = theirs.state_dict()
    if how != 'timm':  # the names of Swin's authors, who merge at a stage's end
        state = SWIN_OFFICIAL.to_theirs(SWIN_TIMM.to_ours(state, 2).state, 2).state
        assert 'layers.0.downsample.reduction.weight' in state
    if how == 'SimMIM':
        state = dict(model={**{f'encoder.{k}': v for k, v in state.items()},
                            'encoder.mask_token': torch.ones(1), 'decoder.0.weight': v0()})
    torch.save(state, tmp_path / 'theirs.pth')
    with torch.no_grad():
        expected = theirs.forward_features(images).flatten(1, 2)
    assert_same(begun(our_swin(), tmp_path / 'theirs.pth'), expected, images)


HF = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8,
          intermediate_size=64)
HF_DINO = {name: value for name, value in HF.items() if name != 'intermediate_size'}
HF_SWIN = dict(embed_dim=8, depths=[1, 2], num_heads=[1, 2], image_size=32, window_size=4)
HF_MAE = dict(HF, mask_ratio=0., decoder_hidden_size=16, decoder_num_hidden_layers=1,
              decoder_num_attention_heads=2, decoder_intermediate_size=16)


@pytest.mark.parametrize('kind, config, fields, inner', [
    ('ViTModel', 'ViTConfig', HF, ''),
    ('ViTModel', 'ViTConfig', dict(HF, qkv_bias=False), ''),
    ('ViTForImageClassification', 'ViTConfig', HF, 'vit'),
    ('ViTForMaskedImageModeling', 'ViTConfig', dict(HF, encoder_stride=8), 'vit'),
    ('ViTMAEForPreTraining', 'ViTMAEConfig', HF_MAE, 'vit'),
    ('ViTMSNForImageClassification', 'ViTMSNConfig', HF, 'vit'),
    ('IJepaModel', 'IJepaConfig', HF, ''),
    ('Dinov2Model', 'Dinov2Config', dict(HF_DINO, mlp_ratio=2), ''),
    ('Dinov2ForImageClassification', 'Dinov2Config', dict(HF_DINO, mlp_ratio=2), 'dinov2'),
    ('SwinModel', 'SwinConfig', HF_SWIN, ''),
    ('SwinForMaskedImageModeling', 'SwinConfig', dict(HF_SWIN, encoder_stride=8), 'swin')])
def test_transformers_folders(kind, config, fields, inner, tmp_path):
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    theirs = getattr(transformers, kind)(getattr(transformers, config)(**fields))
    shake(theirs).eval().save_pretrained(tmp_path)
    model = our_swin() if 'Swin' in kind else our_vit(with_cls_token='IJepa' not in kind)
    order = dict(noise=torch.arange(16.).expand(2, -1)) if 'MAE' in kind else {}  # of the patches
    images = noise(2, 3, 32, 32)
    with torch.no_grad():
        expected = (getattr(theirs, inner) if inner else theirs)(images, **order).last_hidden_state
    assert_same(begun(model, tmp_path), expected[:, expected.shape[1] % 16:] if len(
        expected[0]) > 16 else expected, images)


def test_folders_with_weights_in_several_files(tmp_path):
    transformers = pytest.importorskip('transformers')
    theirs, images = shake(transformers.ViTModel(transformers.ViTConfig(**HF))).eval(), \
        noise(2, 3, 32, 32)
    theirs.save_pretrained(tmp_path, max_shard_size='30KB')
    assert len(list(tmp_path.glob('*.safetensors'))) > 1
    with torch.no_grad():
        expected = theirs(images).last_hidden_state[:, 1:]
    assert_same(begun(our_vit(), tmp_path), expected, images)
    next(tmp_path.glob('*.safetensors')).unlink()
    with pytest.raises(UserError, match='lacks 1 of the . files of its weights: model-0000'):
        read_source(tmp_path)


@pytest.mark.parametrize('kind, words', [
    ('deit', 'a distillation token'), ('dinov2_with_registers', 'register tokens'),
    ('beit', 'relative position biases'), ('swinv2', 'cosine attention'),
    ('bert', "'bert'; there are vit")])
def test_kinds_of_transformers_that_have_no_place_here(kind, words, tmp_path):
    (tmp_path / 'config.json').write_text(json.dumps(dict(model_type=kind)))
    with pytest.raises(UserError, match=words):
        read_source(tmp_path)


def test_folders_of_timm(tmp_path):
    """As its models lie on the Hugging Face hub."""
    theirs, images = timm_vit(), noise(2, 3, 32, 32)
    save_file(theirs.state_dict(), tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_text(json.dumps(dict(
        architecture='vit_base_patch16_224', num_features=32, pretrained_cfg=dict(tag='mae'))))
    with torch.no_grad():
        expected = theirs.forward_features(images)[:, 1:]
    assert_same(begun(our_vit(), tmp_path), expected, images)


def test_half_precision_is_left_before_weights_are_computed_with(tmp_path):
    theirs, images = timm_vit(init_values=0.3).bfloat16(), noise(2, 3, 32, 32)
    torch.save(theirs.state_dict(), tmp_path / 'theirs.pth')
    with torch.no_grad():
        expected = theirs.float().forward_features(images)[:, 1:]
    assert_same(begun(our_vit(), tmp_path / 'theirs.pth'), expected, images)


@pytest.mark.parametrize('there, here', [
    ((2, 8), (2, 8)),  # as many as a square has
    ((2, 8), (4, 4)), ((4, 4), (2, 8)), ((2, 6), (3, 5))])
def test_positions_of_oblong_grids(there, here, tmp_path):
    """Where a file says its grid: a folder of transformers, and our own."""
    transformers = pytest.importorskip('transformers')
    size, ours = [8 * length for length in there], our_vit(img_size=[8 * one for one in here])
    theirs = shake(transformers.ViTModel(transformers.ViTConfig(**{**HF, 'image_size': size})))
    theirs.save_pretrained(tmp_path / 'theirs')
    mine = our_vit(img_size=size)
    mine.load_state_dict(fitted_state(tmp_path / 'theirs', mine)[0], strict=False)
    config = f"model = dict(backbone=dict(type='mmwamim.MaskedViT', img_size={size}, patch_size=8))"
    torch.save(dict(meta=dict(config=config), state_dict=under('backbone.', mine.state_dict())),
               tmp_path / 'mine.pth')
    positions = theirs.embeddings.position_embeddings.detach()
    expected = resample_abs_pos_embed(positions, list(here), list(there))
    for source in ('theirs', 'mine.pth'):
        state, _ = fitted_state(tmp_path / source, ours)
        torch.testing.assert_close(state['pos_embed'], expected, rtol=0, atol=1e-5)


def test_our_own_files_know_their_heads(tmp_path):
    config = f"model = dict(backbone=dict(type='mmwamim.MaskedViT', arch={ARCH}))"
    torch.save(dict(meta=dict(config=config),
                    state_dict=under('backbone.', our_vit().state_dict())), tmp_path / 'own.pth')
    with pytest.raises(UserError, match='has 2 attention heads and this encoder 4'):
        fitted_state(tmp_path / 'own.pth', our_vit(arch=dict(ARCH, num_heads=4)))


def test_own_and_mmpretrain_files(tmp_path):
    theirs, images = shake(our_vit()).eval(), noise(1, 3, 32, 32)
    state = {f'backbone.{name}': value for name, value in theirs.state_dict().items()}
    torch.save(dict(state_dict={**state, 'neck.weight': v0()}), tmp_path / 'own.pth')
    with torch.no_grad():
        expected = theirs(images)[-1].flatten(2).transpose(1, 2)
    assert_same(begun(our_vit(), tmp_path / 'own.pth'), expected, images)


def test_other_sizes_are_those_of_timm(tmp_path):
    theirs = timm_vit()
    torch.save(theirs.state_dict(), tmp_path / 'theirs.pth')
    model = our_vit(img_size=64, patch_size=16, in_channels=5)
    state, report = fitted_state(tmp_path / 'theirs.pth', model)
    kernel = theirs.patch_embed.proj.weight.detach()
    widened = adapt_input_conv(5, kernel.clone())
    torch.testing.assert_close(state['patch_embed.projection.weight'],
                               resample_patch_embed(widened, [16, 16]), rtol=0, atol=1e-4)
    assert 'channels: 3 to 5' in report and 'patches from 8 to 16 px' in report
    assert 'left: head.weight, head.bias' in report
    torch.testing.assert_close(change_channels(kernel, 1), adapt_input_conv(1, kernel.clone()))
    # patch 8 at 64 px: 8x8 cells of 4x4
    state, report = fitted_state(tmp_path / 'theirs.pth', our_vit(img_size=64))
    expected = resample_abs_pos_embed(theirs.pos_embed.detach(), [8, 8], [4, 4])
    torch.testing.assert_close(state['pos_embed'], expected, rtol=0, atol=1e-5)
    assert 'pos_embed from 17 to 65 tokens' in report


def test_enlarged_patches_see_enlarged_pictures_as_before():
    kernel, picture = noise(4, 3, 8, 8), noise(1, 3, 8, 8, seed=1)
    large = torch.nn.functional.interpolate(picture, size=(16, 16), mode='bicubic', antialias=True)
    torch.testing.assert_close((resize_patches(kernel, (16, 16)) * large).sum((1, 2, 3)),
                               (kernel * picture).sum((1, 2, 3)), rtol=0, atol=1e-3)


def test_relative_positions_keep_their_directions(tmp_path):
    """A table that rises with the row's offset still does, in a larger window."""
    rows = torch.arange(-3., 4)[:, None].expand(7, 7).reshape(-1, 1)
    larger = resize_relative(rows, 13 * 13).view(13, 13)
    assert (larger.diff(dim=0)[2:-2] > 0).all()
    assert larger.diff(dim=1).abs().max() < 1e-5
    torch.save(timm_swin().state_dict(), tmp_path / 'theirs.pth')
    _, report = fitted_state(tmp_path / 'theirs.pth', our_swin(img_size=64, window_size=8))
    assert 'windows of 4 to 8' in report


@pytest.mark.parametrize('model, words', [
    (lambda: our_vit(arch=dict(ARCH, num_layers=3)), 'ViT of width 32 with 2 layers.* 3 layers'),
    (our_swin, 'is a ViT .* a Swin'),
    (lambda: our_vit(with_cls_token=False), 'with_cls_token=True'),
    (lambda: our_vit(arch=dict(ARCH, feedforward_channels=96)), r'\(64, 32\) instead of \(96, 32')])
def test_what_does_not_fit_is_an_error(model, words, tmp_path):
    torch.save(timm_vit().state_dict(), tmp_path / 'theirs.pth')
    with pytest.raises(UserError, match=words):
        fitted_state(tmp_path / 'theirs.pth', model())


def test_what_cannot_be_read_is_named(tmp_path):
    torch.save(timm_vit(reg_tokens=2).state_dict(), tmp_path / 'registers.pth')
    torch.save(dict(x=v0()), tmp_path / 'nothing.pth')
    for source, words in (('registers.pth', 'not a plain ViT.*reg_token'),
                          ('nothing.pth', 'holds no ViT or Swin'), ('', 'no config.json'),
                          ('nowhere.pth', 'no file or folder'), ('nowhere', 'no model of that n')):
        with pytest.raises(UserError, match=words):
            read_source(tmp_path / source)


@pytest.mark.parametrize('files, words', [
    ({'x.safetensors': b'<html>404</html>'}, 'read as safetensors: it is a web page'),
    ({'x.safetensors': b''}, 'read as safetensors: it is empty'),
    ({'x.safetensors': b'PK\3\4'}, 'it is of torch.save: give it the ending .pth'),
    ({'x.safetensors': b'\x40' + bytes(7) + b'{"a": '}, 'it is damaged, or only a part'),
    ({'x.pth': b'\x40' + bytes(7) + b'{"a": '}, 'with the ending .safetensors it can begin'),
    ({'x/config.json': b'{'}, 'x/config.json. is no JSON'),
    ({'x/config.json': b'[1]'}, 'is no config of transformers, but a list'),
    ({'x/config.json': b'{"model_type": "vit"}', 'x/model.safetensors.index.json': b'{}'},
     'index.json. has no weight_map')])
def test_what_is_something_else_is_called_what_it_is(files, words, tmp_path):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        read_source(tmp_path / next(iter(files)).split('/')[0])
    assert '\n' not in str(caught.value)


def test_a_run_begins_with_them(tmp_path):
    """After MMEngine's own initialisation, which draws in an order of its own."""
    theirs = timm_vit(depth=4, img_size=64)
    torch.save(theirs.state_dict(), tmp_path / 'theirs.pth')
    make_images(tmp_path / 'images', 4, 64)
    runner = prepare(PRETRAIN, tmp_path / 'images', tmp_path / 'work', '--init',
                     tmp_path / 'theirs.pth')
    runner._init_model_weights()
    ours = runner.model.backbone.state_dict()
    for name, value in read_source(tmp_path / 'theirs.pth').state.items():
        assert torch.equal(ours[name], value), name
