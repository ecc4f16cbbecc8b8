"""The learning rate of every layer, by hand."""
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS as DET
from mmengine.optim import build_optim_wrapper
from mmpretrain.models import SwinTransformer, VisionTransformer
from torch import nn

from mmwamim.engine.optim.layer_decay import depth_of

WRAPPER = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=1., weight_decay=0.05),
    constructor='mmwamim.LayerDecayOptimWrapperConstructor')


class Detector(nn.Module):
    """As the models of mmdet and mmseg: a backbone, and no get_layer_depth of its own."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone, self.neck = backbone, nn.Conv2d(4, 4, 1)


def rates(model, **paramwise):
    wrapper = build_optim_wrapper(model, dict(WRAPPER, paramwise_cfg=dict(
        layer_decay_rate=0.5, norm_decay_mult=0., **paramwise)))
    return {name: group for group in wrapper.optimizer.param_groups
            for name in group['param_names']}


def test_vit_by_hand():
    arch = dict(embed_dims=8, num_layers=3, num_heads=2, feedforward_channels=16)
    groups = rates(Detector(VisionTransformer(arch=arch, img_size=32)),
                   custom_keys=dict(pos_embed=dict(decay_mult=0.)))
    expected = {  # tokens and patches, layers 1 to 3, the rest: 1/16, 1/8, 1/4, 1/2, 1
        'backbone.cls_token': 1 / 16, 'backbone.pos_embed': 1 / 16,
        'backbone.patch_embed.projection.weight': 1 / 16,
        'backbone.layers.0.attn.qkv.weight': 1 / 8, 'backbone.layers.1.ln1.bias': 1 / 4,
        'backbone.layers.2.ffn.layers.1.weight': 1 / 2, 'backbone.ln1.weight': 1.,
        'neck.weight': 1., 'neck.bias': 1.}
    for name, rate in expected.items():
        assert groups[name]['lr'] == rate, name
    for name, group in groups.items():  # every layer's parameters, not only those above
        if name.startswith('backbone.layers.'):
            assert group['lr'] == 0.5**(3 - int(name.split('.')[2])), name
    assert groups['backbone.pos_embed']['weight_decay'] == 0
    assert groups['backbone.layers.1.ln1.weight']['weight_decay'] == 0
    assert groups['backbone.layers.1.attn.qkv.weight']['weight_decay'] == 0.05


def test_swin_by_hand():
    arch = dict(embed_dims=8, depths=[1, 2, 1, 1], num_heads=[1, 1, 2, 2])
    model = Detector(SwinTransformer(arch=arch, use_abs_pos_embed=True, out_indices=(0, 1, 2, 3)))
    groups = rates(model)
    expected = {  # five blocks: the stem 1/64, blocks 1/32 to 1/2, the rest 1
        'backbone.patch_embed.projection.weight': 1 / 64, 'backbone.absolute_pos_embed': 1 / 64,
        'backbone.stages.0.blocks.0.norm1.weight': 1 / 32,
        'backbone.stages.0.downsample.reduction.weight': 1 / 32,
        'backbone.stages.1.blocks.0.attn.w_msa.qkv.weight': 1 / 16,
        'backbone.stages.1.blocks.1.attn.w_msa.relative_position_bias_table': 1 / 8,
        'backbone.stages.1.downsample.norm.weight': 1 / 8,
        'backbone.stages.2.blocks.0.ffn.layers.1.bias': 1 / 4,
        'backbone.stages.3.blocks.0.attn.w_msa.proj.weight': 1 / 2,
        'backbone.norm0.weight': 1., 'backbone.norm3.bias': 1., 'neck.weight': 1.}
    for name, rate in expected.items():
        assert groups[name]['lr'] == rate, name
    assert set(groups) == {name for name, p in model.named_parameters() if p.requires_grad}


def test_a_real_detector_is_asked_through_its_backbone():
    backbone = DET.build(dict(type='mmpretrain.SwinTransformer', arch='tiny'))
    depth = depth_of(SimpleNamespace(backbone=backbone))
    assert depth('rpn_head.conv.weight') == (13, 14)
    assert depth('backbone.stages.3.blocks.1.norm1.weight') == (12, 14)


def test_what_cannot_decay_is_refused():
    with pytest.raises(ValueError, match='does not say how deep'):
        rates(Detector(torch.nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=r'layer_decay_rate must lie in \(0, 1\], not 1.5'):
        build_optim_wrapper(nn.Linear(2, 2), dict(WRAPPER, paramwise_cfg=dict(
            layer_decay_rate=1.5)))


@pytest.mark.parametrize('kind, decay', [
    ('AdamW', 0.01), ('SGD', 0.), ('mmwamim.FusedAdamW', 0.01), (torch.optim.AdamW, 0.01)])
def test_without_weight_decay_it_is_the_optimizers_own(kind, decay):
    arch = dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=16)
    model = Detector(VisionTransformer(arch=arch, img_size=32))
    wrapper = build_optim_wrapper(model, dict(
        WRAPPER, optimizer=dict(type=kind, lr=1.),
        paramwise_cfg=dict(layer_decay_rate=0.5, norm_decay_mult=0.)))
    found = {name: group['weight_decay'] for group in wrapper.optimizer.param_groups
             for name in group['param_names']}
    assert found['backbone.layers.0.attn.qkv.weight'] == decay
    assert found['backbone.layers.0.ln1.weight'] == 0.
