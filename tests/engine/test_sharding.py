"""``--fsdp`` with two processes: it learns what DDP learns, in its files."""
import json
from pathlib import Path

import pytest
import skimage.data
import torch
from PIL import Image

from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.distributed.sharding import map_tensors
from tests.support.commands import QUICK
from tests.support.processes import train_in_ranks

SWIN = 'configs/wamim/swin_b_100e.py'


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    """Two classes of photographs, split into train and val."""
    root = tmp_path_factory.mktemp('labelled')
    for split, count in (('train', 6), ('val', 2)):
        for name in ('astronaut', 'coffee'):
            (root / split / name).mkdir(parents=True)
            photo = Image.fromarray(getattr(skimage.data, name)())
            for i in range(count):
                photo.crop((20 * i, 10 * i, 20 * i + 200, 10 * i + 160)).save(
                    root / split / name / f'{i}.jpg')
    return root


def train(config, data, work, *options, fsdp=True, resume=None):
    command = [config, '--data', data, '--epochs', 2, '--batch-size', 3,
               '--work-dir', work, *['--fsdp'] * fsdp, *['--resume', resume] * bool(resume),
               '--cfg-options', 'default_hooks.logger.interval=1',
               'default_hooks.checkpoint.interval=1', 'default_hooks.checkpoint.max_keep_ckpts=3',
               'train_dataloader.num_workers=0', *options]
    code, log = train_in_ranks(*command)
    assert code == 0, log
    return log


def losses(work):
    """Loss and gradient norm of every step."""
    lines = [json.loads(line) for path in sorted(Path(work).glob('*/vis_data/scalars.json'))
             for line in path.read_text().splitlines()]
    return [(line['loss'], line['grad_norm']) for line in lines if 'grad_norm' in line]


def assert_same_run(work, expected):
    """Weights, moments and losses to rounding, in files of the same form."""
    ours, theirs = (read_checkpoint(path / 'epoch_2.pth') for path in (work, expected))
    assert list(ours['state_dict']) == list(theirs['state_dict'])
    for name, value in theirs['state_dict'].items():
        torch.testing.assert_close(ours['state_dict'][name], value, rtol=1e-3, atol=5e-4, msg=name)
    state, expected_state = ours['optimizer']['state'], theirs['optimizer']['state']
    assert state.keys() == expected_state.keys() and len(state) > 100
    for index, moments in expected_state.items():
        for name, value in moments.items():
            torch.testing.assert_close(state[index][name], value, rtol=1e-3, atol=1e-5)
    assert ours['optimizer']['param_groups'] == theirs['optimizer']['param_groups']


def test_fsdp_learns_what_ddp_learns_and_either_goes_on_from_the_other(photographs, tmp_path):
    data = photographs / 'train'
    ddp, fsdp = tmp_path / 'ddp', tmp_path / 'fsdp'
    accumulate = 'optim_wrapper.accumulative_counts=2'
    train(QUICK, data, ddp, accumulate, fsdp=False)
    log = train(QUICK, data, fsdp, accumulate)
    assert 'FSDP: weights, gradients and optimizer state are shared out among 2 processes' in log
    assert len(losses(ddp)) >= 3
    torch.testing.assert_close(losses(fsdp), losses(ddp), rtol=1e-4, atol=1e-5)
    assert_same_run(fsdp, ddp)
    encoder = read_checkpoint(fsdp / 'encoder.pth')['state_dict']
    for name, value in read_checkpoint(fsdp / 'epoch_2.pth')['state_dict'].items():
        assert name not in encoder or torch.equal(encoder[name], value)
    assert len(encoder) > 50

    train(QUICK, data, tmp_path / 'on', accumulate, resume=ddp / 'epoch_1.pth')
    assert_same_run(tmp_path / 'on', ddp)
    train(QUICK, data, tmp_path / 'back', accumulate, fsdp=False,
          resume=fsdp / 'epoch_1.pth')
    assert_same_run(tmp_path / 'back', ddp)


def test_hooks_that_look_at_the_model(photographs, tmp_path):
    hooks = tmp_path / 'config.py'
    hooks.write_text(f"""
_base_ = ['{Path(QUICK).resolve()}']
custom_hooks = [
    dict(type='mmwamim.FeatureProbeHook', data_root='{photographs}', interval=1),
    dict(type='mmwamim.ReconstructionHook', data_root='{photographs}/val', interval=1, most=2),
    dict(type='mmwamim.EncoderExportHook'),
]
""")
    found = {}
    for fsdp in (False, True):
        work = tmp_path / f'run{fsdp}'
        train(hooks, photographs / 'train', work, fsdp=fsdp)
        scalars = [json.loads(line) for path in work.glob('*/vis_data/scalars.json')
                   for line in path.read_text().splitlines()]
        found[fsdp] = [line['probe/effective_rank'] for line in scalars
                       if 'probe/effective_rank' in line]
        assert len(list(work.glob('*/vis_data/vis_image/*.png'))) == 4
    assert len(found[True]) == 2
    assert found[True] == pytest.approx(found[False], rel=1e-3)


def test_swin(photographs, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(f"""
_base_ = ['{Path(SWIN).resolve()}']
model = dict(
    backbone=dict(arch=dict(
        _delete_=True, embed_dims=24, depths=[1, 2, 1, 1], num_heads=[1, 2, 2, 2])),
    neck=dict(embed_dims=32, num_heads=2))
train_dataloader = dict(persistent_workers=False)
""")
    for fsdp in (False, True):
        train(config, photographs / 'train', tmp_path / f'run{fsdp}', fsdp=fsdp)
    torch.testing.assert_close(losses(tmp_path / 'runTrue'), losses(tmp_path / 'runFalse'),
                               rtol=1e-3, atol=1e-4)


def test_one_process_has_nobody_to_share_with(photographs, tmp_path):
    code, log = train_in_ranks(QUICK, '--data', photographs, '--fsdp', '--work-dir', tmp_path,
                               ranks=1)
    assert code != 0 and 'start several with tools/dist_train.sh' in log.splitlines()[-1]


def test_map_tensors_keeps_everything_else():
    tree = dict(a=torch.ones(2), b=[1, (torch.zeros(1), 'x')], c=None)
    found = map_tensors(lambda t: t + 1, tree)
    assert found['b'][1][1] == 'x' and found['b'][0] == 1 and found['c'] is None
    assert found['a'].tolist() == [2, 2] and found['b'][1][0].tolist() == [1]
    assert tree['a'].tolist() == [1, 1]
