"""Files and folders of others, as their tools write them, and what only looks like them."""
import collections
import datetime
import json
import os
import pathlib
import re
import sys
import types
from unittest import mock

import numpy as np
import pytest
import timm
import torch
from mmengine.config import Config
from safetensors.torch import save_file

import mmwamim
from mmwamim.errors import UserError
from mmwamim.models import MaskedViT
from mmwamim.weights.init import fitted_state, settle_init
from mmwamim.weights.reading import read_source
from tests.support.models import noise, shake
from tests.weights.test_init import (
    ARCH,
    HF,
    assert_same,
    begun,
    our_vit,
    timm_vit,
    under,
    v0,
)


def zeros(state):
    return {name: torch.zeros_like(value) for name, value in state.items()}


def state_of_mmpretrain():
    """Under the names of mmpretrain."""
    return our_vit().state_dict()


# Where the tools of others keep the wanted weights, with zeros under the other names.
KEPT = {
    'net': lambda good, bad: dict(net=good, optimizer={}),
    'EMA of timm, renamed': lambda good, bad: dict(model_state_dict=bad, model_ema_state_dict=good),
    'EMA under a name of its own': lambda good, bad: dict(
        model=bad, ema=dict(shadow=good, decay=0.9)),
    'EMA alone': lambda good, bad: dict(ema_state_dict=good),
    'ema-pytorch': lambda good, bad: {
        **under('online_model.', bad), **under('ema_model.', good), 'step': torch.tensor(1)},
    'BYOL': lambda good, bad: {**under('online.net.', bad), **under('target.net.', good)},
    'NumPy': lambda good, bad: {name: value.numpy() for name, value in good.items()},
    'DINOv2 in chunks': lambda good, bad: dict(teacher={
        **{re.sub(r'blocks\.(\d)', r'backbone.blocks.\1.\1', name) if 'blocks' in name
           else f'backbone.{name}': value for name, value in good.items()},
        'dino_head.mlp.0.weight': v0()}),
    'iBOT': lambda good, bad: dict(state_dict={**good, 'masked_embed': torch.ones(1, 32)}),
    'SigLIP': lambda good, bad: {**good, 'attn_pool.latent': v0()}}


@pytest.mark.parametrize('how', KEPT)
def test_the_wanted_weights_are_found(how, tmp_path):
    theirs, images = timm_vit(), noise(2, 3, 32, 32)
    good = theirs.state_dict()
    torch.save(KEPT[how](good, zeros(good)), tmp_path / 'theirs.pth')
    with torch.no_grad():
        expected = theirs.forward_features(images)[:, 1:]
    assert_same(begun(our_vit(), tmp_path / 'theirs.pth'), expected, images)


def test_layer_scale_of_deit3s_authors(tmp_path):
    theirs, images = timm_vit(init_values=0.5), noise(2, 3, 32, 32)
    torch.save(dict(model={re.sub(r'ls(\d)\.gamma', r'gamma_\1', name): value
                           for name, value in theirs.state_dict().items()}), tmp_path / 'x.pth')
    with torch.no_grad():
        expected = theirs.forward_features(images)[:, 1:]
    assert_same(begun(our_vit(layer_scale_init_value=0.1), tmp_path / 'x.pth'), expected, images)


def test_options_and_results_of_training_scripts_are_no_obstacle(tmp_path):
    lightning = 'lightning.fabric.utilities.data'  # is not there when the file is read
    modules = {name: types.ModuleType(name) for name in (lightning, 'lightning', *(
        lightning.rsplit('.', parts)[0] for parts in (1, 2)))}
    modules[lightning].AttributeDict = type('AttributeDict', (dict, ), dict(__module__=lightning))
    beside = dict(
        args=types.SimpleNamespace(out=pathlib.Path('out'), when=datetime.datetime(2026, 1, 2)),
        best=np.float32(3), done=np.bool_(True), name=np.str_('a'), rng=np.random.get_state(),
        log=collections.defaultdict(list, loss=[1]), last=collections.deque([1, 2]),
        hyper_parameters=modules[lightning].AttributeDict(lr=1.))
    theirs = timm_vit().state_dict()
    with mock.patch.dict(sys.modules, modules):
        torch.save(dict(model=theirs, **beside), tmp_path / 'x.pth')
    found = read_source(tmp_path / 'x.pth').state
    assert torch.equal(found['ln1.bias'], theirs['norm.bias'])


@pytest.mark.parametrize('change, words', [
    (lambda state: timm_vit(), 'more than data .GLOBAL timm.*VisionTransformer.: save the state_d'),
    (lambda state: dict(state, x=np.array([None])), 'ObjectDType.*: save the state_dict alone'),
    (lambda state: dict(state, **{'norm.weight': state['norm.weight'].to('meta')}), 'is empty'),
    (lambda state: dict(state, **{'norm.weight': state['norm.weight'].to_sparse()}), 'is sparse'),
    (lambda state: dict(state, **{'norm.weight': state['norm.weight'].to(torch.int8)}),
     "'norm.weight' is quantized"),
    (lambda state: dict(state, **{'patch_embed.proj.weight': torch.ones(32, 3, 2, 8, 8)}),
     r'\(32, 3, 2, 8, 8\) instead of \(32, 3, 8, 8\)'),
    (lambda state: dict(state_of_mmpretrain(), dist_token=v0(), pos_embed=torch.ones(1, 18, 32)),
     'differ .dist_token not in this encoder.'),  # the cause, and not what follows
    (lambda state: dict(state, pos_embed=torch.ones(1, 4, 4, 32)), r'\(1, 4, 4, 32\) instead of')])
def test_what_has_no_plain_weights_is_one_line(change, words, tmp_path):
    torch.save(change(timm_vit().state_dict()), tmp_path / 'x.pth')
    with pytest.raises(UserError, match=words) as caught:
        fitted_state(tmp_path / 'x.pth', our_vit())
    assert '\n' not in str(caught.value)


@pytest.mark.filterwarnings('error:.*received a zip file')
def test_a_program_of_torchscript_is_called_so(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / 'x.pth'))
    with pytest.raises(UserError, match='program of TorchScript: save the state_dict') as caught:
        read_source(tmp_path / 'x.pth')
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('kind, config', [('ViTModel', 'ViTConfig'),
                                          ('ViTMAEModel', 'ViTMAEConfig')])
def test_norms_have_the_eps_of_their_source(kind, config, tmp_path):
    """Of a class token as small as transformers draws it the first norm makes much of its eps. What
    follows from the run, to timm in the end, has it too."""
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    more = dict(mask_ratio=0.) if 'MAE' in kind else {}
    theirs = getattr(transformers, kind)(getattr(transformers, config)(**HF, **more)).eval()
    with torch.no_grad():
        theirs.embeddings.cls_token.mul_(0.01)
    theirs.save_pretrained(tmp_path / 'theirs')
    images = noise(2, 3, 32, 32)
    order = dict(noise=torch.arange(16.).expand(2, -1)) if more else {}
    with torch.no_grad():
        tokens = theirs(images, **order).last_hidden_state
    model = begun(our_vit(), tmp_path / 'theirs')
    assert_same(model, tokens[:, 1:], images)
    assert 'eps=1e-12' in fitted_state(tmp_path / 'theirs', model)[1]

    backbone = dict(type='mmwamim.MaskedViT', arch=ARCH, img_size=32, patch_size=8,
                    out_indices=(0, 1), out_type='raw')
    cfg = Config(dict(model=dict(type='mmwamim.WaMIM', backbone=backbone)))
    settle_init(cfg, str(tmp_path / 'theirs'))
    assert cfg.model.backbone.norm_cfg == dict(type='LN', eps=1e-12)
    torch.save(dict(meta=dict(config=cfg.pretty_text), state_dict=under(
        'backbone.', model.state_dict())), tmp_path / 'encoder.pth')
    done = mmwamim.export(tmp_path / 'encoder.pth', 'timm', tmp_path / 'x.safetensors')
    again = eval(done.how_to_load, dict(timm=timm)).eval()
    with torch.no_grad():
        torch.testing.assert_close(again.forward_features(images), tokens, rtol=0, atol=1e-5)


SMALL = dict(embed_dim=32, depth=2, num_heads=2, img_size=32, patch_size=8)


@pytest.mark.parametrize('name, words', [
    ('vit_base_patch16_clip_quickgelu_224', 'its layers have QuickGELU'),
    ('vit_base_patch32_siglip_gap_256', 'its layers have GELUTanh'),
    ('vit_base_patch16_rpn_224', 'its layers have ResPostBlock'),
    ('vit_pe_spatial_tiny_patch16_512', "is timm's Eva, for"),
    ('vit_base_patch16_clip_224', None)])
def test_timm_says_what_the_names_of_parameters_do_not(name, words, tmp_path):
    """Networks with the same names and other functions, as a name, a folder and a file of one."""
    make, images = timm.create_model, noise(2, 3, 32, 32)
    model = shake(make(name, **SMALL)).eval()
    save_file(model.state_dict(), tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_text(json.dumps(dict(architecture=name, model_args=SMALL)))
    for source in (name, tmp_path, tmp_path / 'model.safetensors'):
        with mock.patch.object(timm, 'create_model', lambda *args, pretrained=False, **more:
                               model if pretrained else make(*args, **more)):
            if words:
                with pytest.raises(UserError, match=words):
                    read_source(source)
                continue
            ours = begun(MaskedViT(arch=dict(ARCH, feedforward_channels=128), img_size=32,
                                   patch_size=8, pre_norm=True, out_indices=(0, 1),
                                   out_type='featmap'), source)
        with torch.no_grad():
            assert_same(ours, model.forward_features(images)[:, 1:], images)


def test_names_of_files_that_are_no_utf8_reach_model_cards(tmp_path):
    """As in a locale of ASCII every name with other letters is handed over."""
    backbone = dict(type='mmwamim.MaskedViT', arch=ARCH, img_size=32, patch_size=8,
                    out_indices=(0, 1), out_type='raw')
    config = Config(dict(model=dict(type='mmwamim.WaMIM', backbone=backbone))).pretty_text
    torch.save(dict(meta=dict(config=config), state_dict=under(
        'backbone.', our_vit().state_dict())), tmp_path / 'encoder.pth')
    out = tmp_path / os.fsdecode(b'caf\xe9.pth')
    done = mmwamim.export(tmp_path / 'encoder.pth', 'mmpretrain', out)
    assert b'# caf\xe9.pth' in done.card.read_bytes()
