"""The hook that compares the encoder in the model with the file it was to come from."""
import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.models import ResNet
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from mmwamim.engine.distributed.sharding import shard_model
from mmwamim.engine.export.arrival import (
    EncoderArrivedHook,
    EncoderLoadedHook,
    settle_encoder,
)
from mmwamim.engine.training.runner import _leave_files
from mmwamim.errors import UserError
from mmwamim.models import MaskedViT
from mmwamim.registry import HOOKS
from mmwamim.weights.init import settle_init
from tests.support.models import TINY
from tests.support.processes import in_two_processes


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def look(model, resume=False):
    """What the hook logs."""
    logger, lines = logging.Logger('trial'), Lines()
    logger.addHandler(lines)
    EncoderLoadedHook().before_train(SimpleNamespace(
        model=model, _resume=resume, _load_from=None, logger=logger))
    return lines.lines


def initialised(path):
    """A model whose encoder has LayerScale, which its source has not."""
    torch.manual_seed(1)
    model = nn.Module()
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model.backbone = MaskedViT(
            arch=TINY, img_size=64, out_indices=-1, layer_scale_init_value=0.1,
            init_cfg=dict(type='mmwamim.PretrainedFrom', checkpoint=str(path)))
        model.backbone.init_weights()
    return model


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp('source') / 'vit.pth'
    torch.manual_seed(0)
    encoder = MaskedViT(arch=TINY, img_size=64, out_indices=-1)
    torch.save(dict(state_dict={f'backbone.{name}': torch.randn_like(value)
                                for name, value in encoder.state_dict().items()}), path)
    return path


def spoil(model):
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if name.endswith('ffn.layers.1.bias')) \
            .add_(1)


def test_after_init(source):
    model = initialised(source)
    assert model.backbone.layers[0].attn.gamma1.weight.eq(1).all()
    line, = look(model)
    state = model.backbone.state_dict()  # with eight of LayerScale, which follow from the source
    assert len(state) == len(torch.load(source)['state_dict']) + 8
    assert line.startswith(
        f'Encoder weights loaded from {source}: {len(state)} tensors, equal to those of the file.')
    spoil(model)
    with pytest.raises(RuntimeError, match='1 parameters of the backbone are not those of'):
        look(model)
    assert look(model, resume=True) == []


def compare_shared(rank, source):
    model = initialised(source)
    shard_model(model, init_device_mesh('cpu', (2, )))
    assert len(look(model)) == (rank == 0)
    spoil(model)
    if rank:
        look(model)
    else:
        with pytest.raises(RuntimeError, match='1 parameters of the backbone are not those of'):
            look(model)


def test_after_init_with_parameters_that_are_shared_out(source):
    in_two_processes(compare_shared, source)


def config(**fields):
    return Config(dict(model=dict(backbone=dict(
        type='mmwamim.MaskedViT', arch=TINY, img_size=64, out_indices=-1)), **fields))


def test_init_brings_the_hook_and_resuming_leaves_init(source, capsys):
    cfg = config()
    settle_init(cfg, str(source))
    assert cfg.model.backbone.init_cfg.checkpoint == str(source)
    assert [hook.type for hook in cfg.custom_hooks] == ['mmwamim.EncoderLoadedHook']
    settle_init(cfg, str(source))
    assert len(cfg.custom_hooks) == 1 and capsys.readouterr().out == ''
    old = config(custom_hooks=[dict(type='mmwamim.EncoderArrivedHook')])  # its name of before
    settle_init(old, str(source))
    assert len(old.custom_hooks) == 1
    assert HOOKS.get('EncoderArrivedHook') is EncoderArrivedHook is EncoderLoadedHook
    resumed = config(resume=True, load_from='run/epoch_3.pth')
    settle_init(resumed, 'no.pth')  # not even looked at
    assert capsys.readouterr().out == (
        "init='no.pth' is not used: the run goes on with its own weights, from run/epoch_3.pth\n")
    assert 'init_cfg' not in resumed.model.backbone and not resumed.get('custom_hooks')


def without_teacher(module, state, prefix, meta):
    for name in [name for name in state if name.startswith('teacher.')]:
        del state[name]


def test_a_resumed_model_reads_no_file_but_for_what_its_checkpoint_lacks():
    pretrained = dict(type='Pretrained', checkpoint='gone.pth', prefix='backbone.')
    model = nn.Module()
    model.backbone = MaskedViT(arch=TINY, img_size=64, out_indices=-1, init_cfg=[
        dict(type='Constant', layer='LayerNorm', val=1.), dict(pretrained)])
    model.neck = MaskedViT(arch=TINY, img_size=64, out_indices=-1, init_cfg=dict(
        type='mmwamim.PretrainedFrom', checkpoint='gone.pth'))
    model.teacher = ResNet(18, init_cfg=dict(pretrained))
    model.register_state_dict_post_hook(without_teacher)
    _leave_files(model)
    assert [step['type'] for step in model.backbone.init_cfg] == ['Constant']
    assert model.neck.init_cfg is None and model.teacher.init_cfg == pretrained


def foreign(path, **fields):
    """A network of others, with a file of others: no class head, and a prefix without a dot."""
    return Config(dict(model=dict(backbone=dict(
        type='ResNet', depth=18, init_cfg=dict(
            type='Pretrained', checkpoint=str(path), prefix='backbone'))), **fields))


def test_networks_of_others_are_left_to_mmengine_but_for_what_runs_code(tmp_path):
    path = tmp_path / 'resnet.pth'
    state = {f'backbone.{name}': value for name, value in ResNet(18).state_dict().items()}
    torch.save(dict(state_dict={**state, 'backbone.fc.weight': torch.ones(1)}), path)
    cfg = foreign(path)
    settle_encoder(cfg)
    assert cfg.get('custom_hooks') is None
    with pytest.raises(UserError, match='not a checkpoint of this ResNet.*left over .fc.weight'):
        settle_encoder(cfg, str(path))  # --pretrained is compared
    torch.save(dict(state_dict=state), path)
    settle_encoder(cfg, str(path))
    assert [hook.type for hook in cfg.custom_hooks] == ['mmwamim.EncoderLoadedHook']
    torch.save(nn.Linear(1, 1), path)
    with pytest.raises(UserError, match='cannot be read safely'):
        settle_encoder(foreign(path))
    cfg = foreign(path, custom_hooks=None)
    settle_encoder(cfg, 'none')
    assert cfg.model.backbone.init_cfg is None and cfg.custom_hooks == []
