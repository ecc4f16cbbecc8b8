"""What a step reports is read when it is logged; bad steps are told then, with what they were."""
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmwamim.engine import DeferredInfoHook
from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.training.watch import trim_history
from mmwamim.models.finite import NonFiniteLoss
from tests.support.pretended_gpu import NoReadBack


class Numbers(Dataset):
    """20 numbers with names; those in ``bad`` are not numbers."""

    def __init__(self, bad=()):
        self.bad = bad

    def __len__(self):
        return 20

    def __getitem__(self, index):
        value = torch.nan if index in self.bad else 1. + index
        return dict(inputs=torch.full((1, ), value),
                    data_samples=SimpleNamespace(img_path=f'image{index}.jpg'))


class Network(BaseModel):
    """Loss of level 2: twice the weighted mean; of level 3: the weight; and something to log."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, inputs, data_samples=None, mode='loss'):
        values = self.weight * torch.stack(inputs).mean()
        return dict(loss_level2=2 * values, loss_level3=self.weight + 0, explained=values.detach())


def train(work, hook=(), bad=(), by_epoch=True, checkpoints=(), loop=(), sgd=()):
    MessageHub._instance_dict.clear()
    length = dict(max_epochs=2) if by_epoch else dict(max_iters=20)
    runner = Runner(
        Network(), str(work),
        train_dataloader=dict(batch_size=2, dataset=Numbers(bad), collate_fn=dict(
            type='pseudo_collate'), sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(by_epoch=by_epoch, **length, **dict(loop)),
        optim_wrapper=dict(type='mmwamim.GuardedOptimWrapper', optimizer=dict(
            type='AdamW', lr=0.01, fused=True, **dict(sgd))),
        param_scheduler=dict(type='LinearLR', start_factor=0.5, by_epoch=False, end=8),
        default_hooks=dict(
            runtime_info=dict(dict(type='mmwamim.DeferredInfoHook'), **dict(hook)),
            logger=dict(type='LoggerHook', interval=4),
            checkpoint=dict(dict(type='CheckpointHook', interval=1), **dict(checkpoints))),
        log_processor=dict(window_size=1, by_epoch=by_epoch), log_level='WARNING',
        default_scope='mmpretrain',
        experiment_name=f'watch{len(list(work.parent.iterdir()))}{work.name}')
    try:
        runner.train()
    finally:
        runner.visualizer.close()
    return runner


def logged(runner, name):
    return runner.message_hub.log_scalars[f'train/{name}'].data[0].tolist()


def test_the_log_has_every_step_as_with_mmengine(tmp_path):
    ours = train(tmp_path / 'ours')
    theirs = train(tmp_path / 'theirs', hook=dict(type='RuntimeInfoHook'))
    for name in ('loss', 'loss_level2', 'loss_level3', 'explained', 'lr'):
        assert logged(ours, name) == logged(theirs, name) and len(logged(ours, name)) == 20
    assert len(logged(ours, 'grad_norm')) == 20
    # Steps 1 and 2, the mean of the images 1 and 2, of 3 and 4, times two and the weight of then.
    assert logged(ours, 'loss_level2')[:1] == [3.]
    lines = [[json.loads(line) for line in next(
        path.glob('*/vis_data/scalars.json')).read_text().splitlines()]
        for path in (tmp_path / 'ours', tmp_path / 'theirs')]
    assert [line['loss'] for line in lines[0]] == [line['loss'] for line in lines[1]]
    assert [line['step'] for line in lines[0]] == [4, 8, 14, 18]


@pytest.mark.parametrize('by_epoch, checkpoints, interval, looks', [
    (True, {}, None, [4, 8, 10, 14, 18, 20]),
    (True, {}, 3, [3, 4, 7, 8, 10, 13, 14, 17, 18, 20]),
    (False, dict(by_epoch=False, interval=3), None, [3, 4, 6, 8, 9, 10, 12, 15, 16, 18, 20]),
])
def test_looks(tmp_path, monkeypatch, by_epoch, checkpoints, interval, looks):
    seen, look = [], DeferredInfoHook.look

    def noted(self, runner, together=True):
        if self.waiting:
            seen.append(self.waiting[-1].step)
        look(self, runner, together)

    monkeypatch.setattr(DeferredInfoHook, 'look', noted)
    train(tmp_path / 'w', dict(interval=interval), by_epoch=by_epoch, checkpoints=checkpoints)
    assert seen == looks


def test_a_bad_step_is_told_at_the_next_look_and_nothing_is_saved(tmp_path):
    with pytest.raises(NonFiniteLoss) as raised:
        train(tmp_path / 'w', bad=[5, 13])
    # Of the bad steps 3 and 7 of an epoch, the look after step 4 sees the first.
    assert str(raised.value).splitlines() == [
        'step 3 (epoch 1), process 0: loss_level2 is nan; learning rate 0.00643; files of the '
        'batch: image4.jpg, image5.jpg', 'last good checkpoint: None']
    assert not list((tmp_path / 'w').glob('*.pth'))


def test_several_bad_steps_are_told_together_with_the_last_checkpoint(tmp_path):
    with pytest.raises(NonFiniteLoss) as raised:
        # Each epoch has two bad steps: allowed are those of the first.
        train(tmp_path / 'w', bad=[9, 12], hook=dict(max_bad_steps=2, interval=4))
    lines = str(raised.value).splitlines()
    assert [line[:17] for line in lines[:-1]] == ['step 15 (epoch 2)', 'step 17 (epoch 2)']
    assert 'image8.jpg, image9.jpg' in lines[0] and 'image12.jpg, image13.jpg' in lines[1]
    assert lines[-1].endswith('w/epoch_1.pth')
    assert [path.name for path in (tmp_path / 'w').glob('*.pth')] == ['epoch_1.pth']
    saved = read_checkpoint(tmp_path / 'w/epoch_1.pth')
    history = saved['message_hub']['log_scalars']['train/loss'].data[0]
    assert len(history) == 8 and np.isfinite(history).all()
    assert saved['state_dict']['weight'].isfinite()


def test_allowed_bad_steps_change_nothing_else(tmp_path):
    runner = train(tmp_path / 'w', bad=[5], hook=dict(max_bad_steps=2))
    losses = logged(runner, 'loss_level3')  # the weight before each good step
    assert len(losses) == 18 and np.isfinite(losses).all()
    assert float(runner.model.weight.detach()) < losses[-1]
    assert read_checkpoint(tmp_path / 'w/epoch_2.pth')['state_dict']['weight'].isfinite()


def test_another_saver_is_told_before_the_file_is_written(tmp_path):
    runner = train(tmp_path / 'w', bad=[5], hook=dict(max_bad_steps=2))
    hook = next(hook for hook in runner.hooks if isinstance(hook, DeferredInfoHook))
    hook.after_train_iter(runner, 1, None, dict(loss=torch.tensor(torch.inf)))
    with pytest.raises(NonFiniteLoss, match='loss is inf'):
        runner.save_checkpoint(runner.work_dir, 'preempted.pth')
    assert not (tmp_path / 'w/preempted.pth').exists()


def test_nothing_is_read_back_between_looks(tmp_path):
    runner = train(tmp_path / 'w')
    hook = DeferredInfoHook(interval=100)
    runner.train_loop._iter = runner.train_loop._epoch = 0
    runner._hooks = []
    with NoReadBack():
        for index in range(5):
            hook.before_train_iter(runner, index)
            outputs = runner.model.train_step(dict(inputs=[torch.ones(1)]), runner.optim_wrapper)
            hook.after_train_iter(runner, index, dict(inputs=None), outputs)
    assert len(hook.waiting) == 5


def test_history_is_bounded():
    hub = MessageHub('bounded')
    for name in ('train/loss', 'val/top1'):
        hub.log_scalars[name] = HistoryBuffer(list(range(30)), [1] * 30)
    trim_history(hub, 10)
    assert hub.log_scalars['train/loss'].data[0].tolist() == list(range(20, 30))
    assert len(hub.log_scalars['val/top1'].data[0]) == 30
    with pytest.raises(ValueError, match='interval must be at least 1'):
        DeferredInfoHook(interval=0)
