import pytest
import torch
from mmengine.config import Config
from mmpretrain.models import SwinTransformer, VisionTransformer

from mmwamim.engine.export.arrival import read_fitting, settle_encoder
from mmwamim.errors import UserError
from mmwamim.models import MaskedViT, SparseSwin
from tests.support.models import TINY

SWIN = dict(embed_dims=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2])


def save(path, module, **more):
    state = {f'backbone.{name}': value for name, value in module.state_dict().items()}
    torch.save(dict(state_dict={**state, **more}), path)
    return str(path)


@pytest.fixture
def vit(tmp_path):
    return save(tmp_path / 'vit.pth', MaskedViT(arch=TINY, img_size=64, out_indices=-1),
                **{'neck.levels.0.norm.weight': torch.ones(3)})


@pytest.fixture
def swin(tmp_path):
    return save(tmp_path / 'swin.pth', SparseSwin(arch=SWIN))


def test_what_may_differ(vit, swin):
    assert read_fitting(vit, VisionTransformer(arch=TINY, img_size=64))[1] == []
    pooled = VisionTransformer(arch=TINY, img_size=64, out_type='avg_featmap', final_norm=False)
    assert read_fitting(vit, pooled)[1] == []
    assert read_fitting(swin, SwinTransformer(arch=SWIN))[1] == []
    assert read_fitting(swin, SwinTransformer(arch=SWIN, out_indices=(0, 1, 2, 3)))[1] == []


def test_what_is_resized_is_said(vit, swin):
    assert read_fitting(vit, VisionTransformer(arch=TINY, img_size=128))[1] == [
        'pos_embed is interpolated from (1, 17, 32) to (1, 65, 32)']
    _, resized = read_fitting(swin, SwinTransformer(arch=SWIN, window_size=8))
    assert len(resized) == 4
    assert 'relative_position_bias_table is interpolated from (169, 1) to (225, 1)' in resized[0]


@pytest.mark.parametrize('build, message', [
    (lambda: SwinTransformer(arch=SWIN), r'missing \(patch_embed.norm.weight.*left over'),
    (lambda: VisionTransformer(arch=dict(TINY, num_layers=5), img_size=64),
     r'16 missing|12 missing \(layers.4'),
    (lambda: VisionTransformer(arch=dict(TINY, num_layers=3), img_size=64),
     r'12 left over \(layers.3'),
    (lambda: VisionTransformer(arch=dict(TINY, feedforward_channels=32), img_size=64),
     r'of another shape \(layers.0.ffn.layers.0.0.weight \(64, 32\) instead of \(32, 32\)'),
])
def test_another_architecture_is_refused(vit, build, message):
    with pytest.raises(ValueError, match=message):
        read_fitting(vit, build())


def test_files_that_are_no_checkpoint_of_ours(tmp_path):
    model = VisionTransformer(arch=TINY, img_size=64)
    with pytest.raises(FileNotFoundError, match='there is no checkpoint'):
        read_fitting(tmp_path / 'x.pth', model)
    (tmp_path / 'text.pth').write_text('hello')
    with pytest.raises(ValueError, match='cannot be read as a checkpoint'):
        read_fitting(tmp_path / 'text.pth', model)
    torch.save(dict(state_dict={'blocks.0.weight': torch.ones(1)}), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match="first keys: blocks.0.weight.*not a checkpoint"):
        read_fitting(tmp_path / 'other.pth', model)


def config(**backbone):
    return Config(dict(default_scope='mmpretrain', custom_hooks=[
        dict(type='mmwamim.EncoderLoadedHook')], model=dict(backbone=dict(
            type='mmpretrain.VisionTransformer', arch=TINY, img_size=64, **backbone))))


def test_settled_before_anything_starts(vit):
    init_cfg = dict(type='Pretrained', checkpoint='nowhere.pth', prefix='backbone.')
    cfg = config(init_cfg=init_cfg)
    with pytest.raises(UserError, match="no checkpoint 'nowhere.pth'; give one with pretrained='F"):
        settle_encoder(cfg)
    settle_encoder(cfg, vit)
    assert cfg.model.backbone.init_cfg.checkpoint == vit
    settle_encoder(cfg, 'none')
    assert cfg.model.backbone.init_cfg is None and cfg.custom_hooks == []
    with pytest.raises(UserError, match='pretrained works with configs'):
        settle_encoder(config(), vit)
