"""What the command line and the config become before a run is built."""
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import OPTIM_WRAPPERS

from mmwamim.engine.config.loop import settle_length, settle_loop
from mmwamim.engine.config.reading import read_config
from mmwamim.engine.config.settle import RunOptions, settle
from mmwamim.engine.config.step import settle_precision, settle_step
from mmwamim.errors import MissingFile, UserError
from tests.support.commands import ROOT, load_tool
from tests.support.runs import FINETUNE, PRETRAIN, QUIET, SHRINK
from tests.support.small_data import make_classes, make_images


@pytest.mark.parametrize('loop, name, sampler', [
    (dict(by_epoch=True, max_epochs=3, val_interval=1), 'TrainLoop', 'Sampler'),
    (dict(type='EpochBasedTrainLoop', max_epochs=3), 'TrainLoop', 'Sampler'),
    (dict(type='mmengine.IterBasedTrainLoop', max_iters=9), 'IterLoop', 'Stream'),
    (dict(by_epoch=False, max_iters=9), 'IterLoop', 'Stream')])
def test_configs_of_other_projects_get_loops_and_hooks_that_can_stop(loop, name, sampler):
    """Without PreemptionHook, for one, a run would not end when it is asked to."""
    cfg = Config(dict(
        train_cfg=dict(loop),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=5)),
        train_dataloader=dict(sampler=dict(type='DefaultSampler', shuffle=True),
                              batch_sampler=dict(type='mmdet.AspectRatioBatchSampler'))))
    for _ in range(2):
        settle_loop(cfg)
    rest = {field: value for field, value in loop.items() if field not in ('type', 'by_epoch')}
    assert cfg.train_cfg == dict(rest, type=f'mmwamim.Resumable{name}')
    assert cfg.train_dataloader.sampler == dict(
        type=f'mmwamim.Resumable{sampler}', shuffle=True, seed=None)
    if sampler == 'Sampler':
        assert cfg.train_dataloader.batch_sampler == dict(
            type='mmwamim.ResumableBatches', batches=dict(type='mmdet.AspectRatioBatchSampler'))
    assert cfg.default_hooks.checkpoint == dict(type='mmwamim.AtomicCheckpointHook', interval=5)
    assert [hook.type for hook in cfg.custom_hooks] == [
        'mmwamim.RunSummaryHook', 'mmwamim.ResumeHook', 'mmwamim.PreemptionHook']


def test_loops_of_ones_own_are_left_alone():
    loop = dict(type='MyLoop', max_epochs=3)
    cfg = Config(dict(train_cfg=dict(loop), train_dataloader=dict(sampler=dict(
        type='DefaultSampler'))))
    settle_loop(cfg)
    assert cfg.train_cfg == loop and cfg.train_dataloader.sampler.type == 'DefaultSampler'


@pytest.mark.parametrize('config', [PRETRAIN, FINETUNE])
def test_the_config_that_a_run_leaves_starts_the_same_run(config, tmp_path, monkeypatch):
    """Nothing that was settled is settled a second time."""
    script = load_tool('tools/train.py')
    data = make_images(tmp_path / 'data', 4) if config == PRETRAIN else make_classes(
        tmp_path / 'data', 2, 4)

    def build(path, *options):
        more = [] if config == PRETRAIN else ['--pretrained', 'none']
        monkeypatch.setattr(sys, 'argv', [
            'train.py', str(path), '--work-dir', str(tmp_path / 'w'), '--auto-scale-lr', *more,
            *options])
        return settle(script.parse_args())

    cfg = build(ROOT / config, '--data', str(data), '--batch-size', '2', '--cfg-options',
                *SHRINK[config], *QUIET, 'optim_wrapper.accumulative_counts=2',
                'auto_scale_lr.base_batch_size=64')
    cfg.dump(tmp_path / 'left.py')
    again = build(tmp_path / 'left.py')
    assert again.to_dict() == cfg.to_dict()
    assert again.auto_scale_lr.base_batch_size == 64


def test_configs_that_cannot_be_read(tmp_path):
    with pytest.raises(MissingFile, match="there is no config 'no.py'"):
        read_config('no.py')
    for text, message in (('x = (', 'x.py cannot be read as a config: .*SyntaxError'),
                          ("_base_ = ['no.py']", '_base_ in .*x.py: there is no config .*no.py'),
                          ('x = 1 / 0', 'x.py cannot be read as a config: .*ZeroDivisionError')):
        (tmp_path / 'x.py').write_text(text)
        with pytest.raises(UserError, match=message):
            read_config(tmp_path / 'x.py')
    (tmp_path / 'x.py').write_text("steps = [dict(type='a')]")
    with pytest.raises(UserError, match='a field that was given does not fit .*x.py'):
        read_config(tmp_path / 'x.py', {'steps.3.type': 'b'})
    assert read_config(tmp_path / 'x.py', {'steps.0.type': 'b'}).steps == [dict(type='b')]


def test_a_single_schedule_and_none(tmp_path):
    cfg = Config(dict(train_cfg=dict(max_epochs=100), param_scheduler=dict(
        type='CosineAnnealingLR', T_max=100, end=100)))
    settle_length(cfg, 25)
    assert cfg.param_scheduler == [dict(type='CosineAnnealingLR', T_max=25, end=25)]
    cfg = Config(dict(train_cfg=dict(max_epochs=100)))
    settle_length(cfg, 25)
    assert cfg.train_cfg.max_epochs == 25
    settle_precision(cfg, amp=False)


@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'AmpOptimWrapper',
                                     'mmwamim.GuardedOptimWrapper'])
def test_bfloat16_on_a_cpu_is_for_those_who_ask(wrapper):
    for amp, dtype in ((False, None), (True, torch.bfloat16)):
        cfg = Config(dict(optim_wrapper=dict(type=wrapper, optimizer=dict(type='SGD', lr=0.1))))
        if wrapper == 'AmpOptimWrapper':
            cfg.optim_wrapper.loss_scale = 'dynamic'
        settle_precision(cfg, amp)
        settle_step(cfg)
        layer = torch.nn.Linear(2, 2)
        built = OPTIM_WRAPPERS.build(dict(
            type=cfg.optim_wrapper.type, dtype=cfg.optim_wrapper.get('dtype'),
            optimizer=torch.optim.SGD(layer.parameters(), 0.1)))
        with built.optim_context(layer):
            assert layer(torch.ones(1, 2)).dtype == (dtype or torch.float32)


@pytest.mark.parametrize('epochs', [1, 2, 3, 5, 15, 25, 105])
def test_a_schedule_ends_with_the_run_whatever_its_length(epochs):
    """Of 5 epochs the cosine had 4, and rose again in the last one."""
    cfg = Config.fromfile(ROOT / 'configs/wamim/vit_s_100e.py')
    settle_length(cfg, epochs)
    cosine = cfg.param_scheduler[-1]
    assert cosine.end == epochs and cosine.begin + cosine.T_max == cosine.end
    if len(cfg.param_scheduler) > 1:
        assert cfg.param_scheduler[0].end == cosine.begin


@pytest.mark.parametrize('name', ['model', 'train_dataloader', 'train_cfg', 'optim_wrapper'])
def test_a_section_that_training_needs_is_named(name):
    with pytest.raises(UserError, match=f'^{name}: training needs it'):
        settle(RunOptions(str(ROOT / PRETRAIN), cfg_options={name: None}))
