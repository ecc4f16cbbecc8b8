"""Every reported figure is that of what is used."""
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmwamim.engine import RunSummaryHook
from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.training.summary import _last_rate, summary
from mmwamim.errors import UserError
from mmwamim.interface.words import counted
from tests.support.commands import ROOT
from tests.support.runs import FINETUNE, PRETRAIN, SEGMENT, prepare, record
from tests.support.small_data import make_ade, make_classes, make_images


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp('images'), 12, 80)


def lines(log: Path, *starts):
    text = '\n'.join(path.read_text() for path in log.glob('*/*.log'))
    return [next(line for line in text.splitlines() if line.strip().startswith(start))
            .strip().removeprefix(start).strip() for start in starts]


@pytest.mark.parametrize('batch, counts, scaled, rate', [
    (4, 1, True, '3.13e-06 at its peak = 0.0002 x 4 / 256'),
    (12, 1, True, '9.38e-06 at its peak = 0.0002 x 12 / 256'),
    (4, 3, True, '9.38e-06 at its peak = 0.0002 x 12 / 256'),
    (4, 1, False, '0.0016 at its peak = 0.102 x 4 / 256')])
def test_the_base_rate_is_right_for_every_batch(images, tmp_path, batch, counts, scaled, rate):
    seen = record(PRETRAIN, images, tmp_path, '--epochs', 1, '--batch-size', batch, fields=[
        'optim_wrapper.optimizer.lr=1.6e-3', 'auto_scale_lr.base_batch_size=2048',
        f'auto_scale_lr.enable={scaled}', f'optim_wrapper.accumulative_counts={counts}'])
    said, length, encoder = lines(tmp_path, 'learning rate', 'length', 'encoder')
    assert said == f'{rate}, {seen.rates[-1][0]:.3g} in the last step'
    assert max(seen.rates[0]) == pytest.approx(float(rate.split()[0]), rel=5e-3)
    assert length == f'1 epoch of {counted(12 // batch, "step")}'
    assert encoder.endswith('for images of 64 pixels')
    # What is logged as base_lr is the scaled rate, too.
    row = next((tmp_path).glob('*/vis_data/scalars.json')).read_text().splitlines()[0]
    assert f'"base_lr": {seen.rates[0][0]!r}' in row


def test_a_run_that_is_shorter_than_its_schedule(images, tmp_path):
    """It ends in the warm-up, and says what the last step has."""
    seen = record(PRETRAIN, images, tmp_path, '--batch-size', 4,
                  fields=['train_cfg.max_epochs=1', 'auto_scale_lr.enable=False'])
    said, length = lines(tmp_path, 'learning rate', 'length')
    assert length == '1 epoch of 3 steps' and max(seen.rates[-1]) < 1e-4
    assert said.endswith(f'{seen.rates[-1][0]:.3g} in the last step')


def test_layers_of_their_own_rates(tmp_path):
    data = make_classes(tmp_path / 'data', 2, 6)
    seen = record(FINETUNE, data, tmp_path / 'w', '--epochs', 1, '--batch-size', 4)
    said, = lines(tmp_path / 'w', 'learning rate')  # 0.8 ** 3 below two layers
    assert said == '0.001 at its peak = 0.064 x 4 / 256 (0.000512 in the slowest layers), ' \
        f'{max(seen.rates[-1]):.3g} in the last step'


def test_runs_that_count_steps(tmp_path):
    pytest.importorskip('mmseg')
    make_ade(tmp_path, 5)
    for old, new in (('images/training', 'train2017'), ('annotations/training',
                                                        'semantic/train2017')):
        (tmp_path / new).parent.mkdir(exist_ok=True)
        (tmp_path / old).rename(tmp_path / new)
    runner = prepare(SEGMENT, tmp_path, tmp_path / 'w')
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    assert summary(runner, runner.model)['length'] == '7 steps, 2.8 epochs'


@pytest.mark.parametrize('config, field', [
    (PRETRAIN, 'model.backbone.img_size=128'),
    (FINETUNE, 'train_dataloader.dataset.pipeline.1.crop_size=24')])
def test_other_images_than_the_encoder_is_for(images, tmp_path, config, field):
    data = images if config == PRETRAIN else make_classes(tmp_path / 'data', 2, 6)
    size = '128 x 128, .* 64 x 64' if config == PRETRAIN else '32 x 32, .* 24 x 24'
    with pytest.raises(UserError, match=f'model.backbone.img_size is {size} pixels'):
        record(config, data, tmp_path / 'w', '--epochs', 1, '--batch-size', 4, fields=[field])


def test_commands_can_be_pasted_whatever_is_in_the_paths(images, tmp_path):
    work = tmp_path / "it's a run"
    seen = record(PRETRAIN, images, work, '--epochs', 1, '--batch-size', 4)
    log = next(work.glob('*/*.log')).read_text()
    printed = [shlex.split(line) for line in log.splitlines() if ' show ' in line]
    assert [words[words.index('show'):] for words in printed] == [
        ['show', str(work)], ['show', str(work / 'epoch_1.pth'), '--images', 'IMAGES']]
    # The config there has what the command line changed.
    assert Config.fromfile(work / 'vit_tiny_pretrain.py').model == seen.runner.cfg.model
    settings = next(line for line in log.split('The encoder alone')[1].splitlines()
                    if line.startswith('    init_cfg='))
    assert eval(settings.split('init_cfg=')[1])['checkpoint'] == str(work / 'encoder.pth')


def test_the_encoder_has_the_averaged_weights_of_the_checkpoints(images, tmp_path):
    record(PRETRAIN, images, tmp_path, '--epochs', 2, '--batch-size', 4, fields=[
        'custom_hooks.3.type=EMAHook', 'custom_hooks.3.momentum=0.1'])
    whole = read_checkpoint(tmp_path / 'epoch_2.pth')
    encoder = read_checkpoint(tmp_path / 'encoder.pth')
    assert encoder['meta']['averaged']
    differ = 0
    for name, value in encoder['state_dict'].items():
        assert torch.equal(value, whole['state_dict'][name])
        differ += not torch.equal(value, whole['ema_state_dict'][f'module.{name}'])
    assert differ > 10  # the trained weights are others


def test_a_repository_around_the_package_is_not_ours(tmp_path):
    site = tmp_path / 'site-packages'
    shutil.copytree(ROOT / 'mmwamim', site / 'mmwamim', ignore=shutil.ignore_patterns('.mim'))
    git = ['git', '-C', str(tmp_path), '-c', 'user.name=x', '-c', 'user.email=x']
    for words in (['init', '-q'], ['add', '-A'], ['commit', '-qm', 'theirs']):
        subprocess.run([*git, *words], check=True)
    script = 'from mmwamim.engine.training.summary import _commit; print(repr(_commit()))'
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', script], cwd=site, text=True,
                          capture_output=True, env=dict(PYTHONPATH=str(site), PATH='/usr/bin:/bin',
                                                        HOME=str(tmp_path)))
    assert done.stdout.splitlines()[-1] == "''", done.stderr
    assert RunSummaryHook.__module__ == 'mmwamim.engine.training.summary'


def test_the_rate_of_a_step_far_off_is_not_walked_to():
    """A run of 10^8 epochs began after an hour."""
    steps = SimpleNamespace(param_schedulers=[], max_iters=3 * 10**8, iter=0)
    assert _last_rate(steps) is None
