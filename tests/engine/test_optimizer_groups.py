"""Merged optimizer groups: the settings of every parameter, and states saved with other groups."""
import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import (
    CosineAnnealingLR,
    DefaultOptimWrapperConstructor,
    LinearLR,
    build_optim_wrapper,
)
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from mmpretrain.models import VisionTransformer
from torch import nn

from mmwamim.engine import LayerDecayOptimWrapperConstructor
from mmwamim.engine.config.step import settle_precision
from mmwamim.engine.optim.groups import MergedOptimWrapperConstructor, RegroupHook
from mmwamim.engine.optim.layer_decay import depth_of
from tests.support.commands import ROOT
from tests.support.models import noise

ADAMW = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.1))
PLAIN = dict(norm_decay_mult=0., bias_decay_mult=0., flat_decay_mult=0.,
             custom_keys={'pos_embed': dict(decay_mult=0.), 'head': dict(lr_mult=0.1)})
ARCH = dict(embed_dims=8, num_layers=3, num_heads=2, feedforward_channels=16)


class Classifier(nn.Module):

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = VisionTransformer(arch=ARCH, img_size=32, patch_size=16)
        self.head = nn.Linear(8, 3)

    def get_layer_depth(self, name, prefix=''):
        return depth_of(self)(name)

    def forward(self, images):
        return self.head(self.backbone(images)[0]).square().mean()


CASES = {
    'plain': (DefaultOptimWrapperConstructor, MergedOptimWrapperConstructor, PLAIN, 3),
    'layer decay': (LearningRateDecayOptimWrapperConstructor, LayerDecayOptimWrapperConstructor,
                    dict(layer_decay_rate=0.5, norm_decay_mult=0., bias_decay_mult=0.), 10),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def settings(wrapper):
    return {id(parameter): (group.get('lr'), group['weight_decay'], group['betas'])
            for group in wrapper.optimizer.param_groups for parameter in group['params']}


def test_every_parameter_keeps_its_settings(case):
    separate, merged, paramwise, count = case
    model = Classifier()
    one_each, few = (kind(ADAMW, paramwise)(model) for kind in (separate, merged))
    assert len(one_each.optimizer.param_groups) == len(list(model.parameters()))
    assert len(few.optimizer.param_groups) == count
    assert settings(few) == settings(one_each)
    by_name = dict(model.named_parameters())
    for group in few.optimizer.param_groups:
        for name, parameter in zip(group['param_names'], group['params'], strict=True):
            assert by_name[name] is parameter


@pytest.mark.parametrize('config, most', [
    ('configs/wamim/vit_s_100e.py', 2), ('configs/wamim/swin_b_100e.py', 2),
    ('configs/classification/vit_s_ft_200e.py', 28)])
def test_groups_of_the_configs(config, most):
    cfg = Config.fromfile(ROOT / config)
    init_default_scope('mmpretrain')
    model = dict(cfg.model, data_preprocessor=None)
    model['backbone'] = {**cfg.model.backbone, 'init_cfg': None}
    model = MODELS.build(model)
    settle_precision(cfg, amp=False)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    assert len(groups) == most
    assert {type(group) for group in groups} == {dict}
    assert sum(len(group['params']) for group in groups) == sum(
        parameter.requires_grad for parameter in model.parameters())


def start(kind, paramwise):
    model = Classifier()
    wrapper = kind(ADAMW, paramwise)(model)
    schedulers = [LinearLR(wrapper, start_factor=0.1, by_epoch=False, begin=0, end=4),
                  CosineAnnealingLR(wrapper, T_max=10, by_epoch=False, begin=4, end=14)]
    return model, wrapper, schedulers


def train(model, wrapper, schedulers, steps):
    for step in steps:
        wrapper.update_params(model(noise(2, 3, 32, 32, seed=step)))
        for scheduler in schedulers:
            scheduler.step()


def rates(wrapper):
    return {id(parameter): group['lr'] for group in wrapper.optimizer.param_groups
            for parameter in group['params']}


@pytest.mark.parametrize('stop', [3, 7])
def test_a_run_goes_on_from_a_checkpoint_with_a_group_for_every_tensor(case, stop):
    separate, merged, paramwise, _ = case
    model, wrapper, schedulers = start(separate, paramwise)
    train(model, wrapper, schedulers, range(stop))
    checkpoint = copy.deepcopy(dict(
        state_dict=model.state_dict(), optimizer=wrapper.state_dict(),
        param_schedulers=[scheduler.state_dict() for scheduler in schedulers]))
    train(model, wrapper, schedulers, range(stop, 12))

    def go_on(kind, checkpoint, until):
        resumed, wrapper, schedulers = start(kind, paramwise)
        RegroupHook().after_load_checkpoint(SimpleNamespace(optim_wrapper=wrapper), checkpoint)
        resumed.load_state_dict(checkpoint['state_dict'])
        wrapper.load_state_dict(checkpoint['optimizer'])
        for scheduler, state in zip(schedulers, checkpoint['param_schedulers'], strict=True):
            scheduler.load_state_dict(state)
        train(resumed, wrapper, schedulers, range(stop, until))
        return resumed, wrapper, schedulers

    resumed, few, _ = go_on(merged, copy.deepcopy(checkpoint), 12)
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    names.update({id(parameter): name for name, parameter in resumed.named_parameters()})
    assert {names[key]: rate for key, rate in rates(few).items()} == {
        names[key]: rate for key, rate in rates(wrapper).items()}
    for parameter, moments in wrapper.optimizer.state.items():
        same = dict(resumed.named_parameters())[names[id(parameter)]]
        assert torch.equal(few.optimizer.state[same]['exp_avg_sq'], moments['exp_avg_sq'])


def test_states_in_another_order_find_their_parameters():
    model = Classifier()
    wrapper = MergedOptimWrapperConstructor(ADAMW, PLAIN)(model)
    train(model, wrapper, [], range(2))
    other = dict(norm_decay_mult=0.5, custom_keys={'backbone': dict(decay_mult=0.3)})
    elsewhere = MergedOptimWrapperConstructor(ADAMW, other)(model)
    elsewhere.load_state_dict(copy.deepcopy(wrapper.state_dict()))
    for parameter, moments in wrapper.optimizer.state.items():
        assert torch.equal(elsewhere.optimizer.state[parameter]['exp_avg'], moments['exp_avg'])


def test_a_state_of_other_parameters_is_named():
    model = Classifier()
    state = MergedOptimWrapperConstructor(ADAMW, PLAIN)(model).state_dict()
    model.neck = nn.Linear(2, 2)
    with pytest.raises(ValueError, match='2 differ, such as neck.bias, which the checkpoint'):
        MergedOptimWrapperConstructor(ADAMW, PLAIN)(model).load_state_dict(state)
    model.neck = nn.Linear(8, 3, bias=False)
    model.neck.weight = model.head.weight
    with pytest.raises(ValueError, match='bypass_duplicate=True'):
        MergedOptimWrapperConstructor(ADAMW, PLAIN)(model)
