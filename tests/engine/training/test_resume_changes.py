"""What the user changes on --resume is what is done: schedules, settings, sizes of steps."""
import shutil

import pytest
import torch
from mmengine.hooks import Hook

from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.errors import UserError
from tests.faults.kill_and_resume import same
from tests.support.runs import PRETRAIN, prepare, record
from tests.support.small_data import make_images


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp('images'), 16, 80)


@pytest.fixture(scope='module')
def finished(images, tmp_path_factory):
    """The checkpoint of a run of 4 epochs of 4 steps."""
    work = tmp_path_factory.mktemp('finished')
    record(PRETRAIN, images, work, '--epochs', 4, '--batch-size', 4)
    return work / 'epoch_4.pth'


@pytest.fixture(scope='module')
def halfway(images, tmp_path_factory):
    """The checkpoint of a run of 4 epochs that was stopped in its second one, after step 6."""
    work = tmp_path_factory.mktemp('halfway')
    seen = record(PRETRAIN, images, work, '--epochs', 4, '--batch-size', 4, stop_after=6)
    return work / 'preempted.pth', seen


def said(work):
    return '\n'.join(path.read_text() for path in work.glob('*/*.log'))


def test_a_new_rate_and_other_settings_are_taken(images, halfway, tmp_path):
    fields = ['optim_wrapper.optimizer.lr=1e-4', 'optim_wrapper.optimizer.weight_decay=0.3',
              'optim_wrapper.optimizer.betas=(0.8,0.9)', 'optim_wrapper.clip_grad.max_norm=0.5']
    fresh = record(PRETRAIN, images, tmp_path / 'fresh', '--epochs', 4, '--batch-size', 4,
                   fields=fields)
    resumed = record(PRETRAIN, images, tmp_path / 'work', '--epochs', 4, '--batch-size', 4,
                     '--resume', halfway[0], fields=fields)
    assert resumed.steps == fresh.steps[6:]
    assert resumed.rates == fresh.rates[6:]  # to the bit
    groups = resumed.runner.optim_wrapper.optimizer.param_groups
    assert {group['betas'] for group in groups} == {(0.8, 0.9)}
    assert {group['weight_decay'] for group in groups} == {0.3, 0.}
    assert resumed.runner.optim_wrapper.clip == dict(max_norm=0.5)
    log = said(tmp_path / 'work')
    assert 'optim_wrapper.optimizer.lr: 0.001 -> 0.0001' in log
    assert 'optim_wrapper.optimizer.betas: [0.9, 0.95] -> [0.8, 0.9]' in log
    assert 'optim_wrapper.clip_grad.max_norm: (not set) -> 0.5' in log


def test_schedule_accumulation_masks_and_an_average_are_taken(images, halfway, tmp_path):
    """A warm-up of two epochs, two steps an update, other masks, and a moving average."""
    fields = ['param_scheduler.0.end=50', 'param_scheduler.1.begin=50',
              'param_scheduler.1.T_max=50', 'optim_wrapper.accumulative_counts=2',
              'model.mask_ratio=0.5', 'custom_hooks.3.type=EMAHook', 'custom_hooks.3.momentum=0.1']
    options = ['--epochs', 4, '--batch-size', 4]
    fresh = record(PRETRAIN, images, tmp_path / 'fresh', *options, fields=fields)
    resumed = record(PRETRAIN, images, tmp_path / 'work', *options, '--resume', halfway[0],
                     fields=fields)
    assert resumed.steps == fresh.steps[6:] and resumed.rates == fresh.rates[6:]
    assert 0 < resumed.rates[0][0] < resumed.rates[1][0]  # still in the warm-up
    assert resumed.runner.model.mask_ratio == 0.5
    assert resumed.runner.optim_wrapper._accumulative_counts == 2
    log = said(tmp_path / 'work')
    for line in ('param_scheduler.0.end: ', 'param_scheduler.1.begin: ', 'model.mask_ratio: ',
                 'optim_wrapper.accumulative_counts: (not set) -> 2'):
        assert line in log
    assert 'the moving average begins with the weights of the checkpoint, which has none' in log
    assert 'ema_state_dict' in read_checkpoint(tmp_path / 'work/epoch_4.pth')


class FirstMoments(Hook):
    """The optimizer's state before the first step."""

    def before_train_epoch(self, runner):
        if not hasattr(self, 'state'):
            self.state = {index: {name: value.clone() for name, value in moments.items()} for
                          index, moments in runner.optim_wrapper.state_dict()['state'].items()}


def test_moments_are_those_of_the_checkpoint(images, halfway, tmp_path):
    runner, first = prepare(PRETRAIN, images, tmp_path, '--epochs', 4, '--batch-size', 4,
                            '--resume', halfway[0], fields=['optim_wrapper.optimizer.lr=1e-4']), \
        FirstMoments()
    runner.register_hook(first)
    runner.train()
    saved = read_checkpoint(halfway[0])['optimizer']['state']
    assert len(saved) > 50 and saved.keys() == first.state.keys()
    for index, moments in saved.items():
        assert all(torch.equal(value, first.state[index][name])
                   for name, value in moments.items())


def test_a_longer_run_goes_on_with_the_longer_schedule(images, finished, tmp_path):
    fresh = record(PRETRAIN, images, tmp_path / 'fresh', '--epochs', 12, '--batch-size', 4)
    resumed = record(PRETRAIN, images, tmp_path / 'work', '--epochs', 12, '--batch-size', 4,
                     '--resume', finished)
    assert len(resumed.rates) == 8 * 4 and resumed.rates == fresh.rates[16:]
    assert resumed.rates[0][0] > 0.7e-3  # 1e-3 is the peak
    assert 'train_cfg.max_epochs: 4 -> 12' in said(tmp_path / 'work')


@pytest.mark.parametrize('epochs', [4, 2])
def test_a_run_with_nothing_left_says_so(images, finished, tmp_path, epochs):
    resumed = record(PRETRAIN, images, tmp_path, '--epochs', epochs, '--batch-size', 4,
                     '--resume', finished)
    assert resumed.steps == []
    assert f'Nothing is left to train: 4 epochs are done, and the run is to have {epochs}. For a ' \
        'longer one: resume=True with a larger epochs' in said(tmp_path)


@pytest.mark.parametrize('batch, first', [(8, 1), (2, 4), (3, 3)])
def test_another_batch_goes_on_behind_what_was_seen(images, halfway, tmp_path, batch, first):
    path, seen = halfway
    before = sum(seen.files[4:6], [])  # of the second epoch
    resumed = record(PRETRAIN, images, tmp_path / 'work', '--epochs', 4, '--batch-size', batch,
                     '--resume', path)
    steps = 16 // batch
    assert resumed.steps[0] == (1, first, steps + first)
    assert resumed.steps[-1] == (3, steps - 1, 4 * steps - 1)
    rest = sum([files for (epoch, _, _), files in zip(resumed.steps, resumed.files)
                if epoch == 1], [])
    assert not set(rest) & set(before) and len(set(rest)) == len(rest)
    assert len(rest) == (steps - first) * batch  # all 8 that were left, or whole batches of them
    assert min(resumed.eta) >= 0
    fresh = record(PRETRAIN, images, tmp_path / 'fresh', '--epochs', 4, '--batch-size', batch)
    assert resumed.rates == fresh.rates[steps + first:]


def test_the_rate_follows_another_batch_where_it_is_to(images, halfway, tmp_path):
    fields = ['auto_scale_lr.base_batch_size=4']
    fresh = record(PRETRAIN, images, tmp_path / 'fresh', '--epochs', 4, '--batch-size', 8,
                   '--auto-scale-lr', fields=fields)
    resumed = record(PRETRAIN, images, tmp_path / 'work', '--epochs', 4, '--batch-size', 8,
                     '--auto-scale-lr', '--resume', halfway[0], fields=fields)
    assert max(fresh.rates[0]) == 2e-3
    assert resumed.rates == fresh.rates[3:]


def test_other_images_go_on_at_the_same_share(halfway, tmp_path):
    more = make_images(tmp_path / 'images', 24, 80)
    resumed = record(PRETRAIN, more, tmp_path / 'work', '--epochs', 4, '--batch-size', 4,
                     '--resume', halfway[0])
    assert resumed.steps[0] == (1, 3, 9) and resumed.steps[-1] == (3, 5, 23)  # 1.5 epochs are done
    assert min(resumed.eta) >= 0
    log = said(tmp_path / 'work')
    assert 'images: 16 -> 24' in log and 'steps of an epoch: 4 -> 6' in log
    assert 'some may come twice or not at all' in log


def test_what_belongs_to_another_run_is_named(images, halfway, tmp_path):
    def resume(*fields):
        with pytest.raises(UserError) as caught:
            record(PRETRAIN, images, tmp_path, '--epochs', 4, '--batch-size', 4, '--resume',
                   halfway[0], fields=fields)
        return str(caught.value)

    text = resume('model.neck.embed_dims=64')
    assert 'it is of another run: the model (model.neck.embed_dims: 32 -> 64)' in text
    assert 'of another shape (neck.' in text
    text = resume('optim_wrapper.optimizer.type=Adam')
    assert "optim_wrapper.optimizer.type: 'mmwamim.FusedAdamW' -> 'Adam'" in text


def test_files_without_a_run_are_refused(images, halfway, tmp_path):
    state = read_checkpoint(halfway[0])
    torch.save(dict(state_dict=state['state_dict'], meta={}), tmp_path / 'encoder.pth')
    with pytest.raises(UserError, match='does not hold its epoch and step and the state of the '
                                        'optimizer and the history of the log. Give epoch_N.pth'):
        record(PRETRAIN, images, tmp_path / 'w', '--epochs', 4, '--resume',
               tmp_path / 'encoder.pth')


def test_a_changed_seed_is_taken(images, halfway, tmp_path):
    resumed = record(PRETRAIN, images, tmp_path, '--epochs', 4, '--batch-size', 4, '--resume',
                     halfway[0], fields=['randomness.seed=5'])
    assert resumed.runner.seed == 5 and resumed.runner.train_dataloader.sampler.seed != 0
    assert 'the seed was 0 and is now 5' in said(tmp_path)


def test_a_checkpoint_of_an_earlier_version_goes_on_to_the_bit(images, halfway, tmp_path):
    """It names neither its parameters nor its run, nor what its steps are made of."""
    path, seen = halfway
    old = read_checkpoint(path)
    for field in ('progress', 'parameter_names', 'validated'):
        del old[field]
    del old['message_hub']['runtime_info']['run']
    old['steps_per_epoch'] = 4
    torch.save(old, tmp_path / 'preempted.pth')
    options = ['--epochs', 4, '--batch-size', 4]
    record(PRETRAIN, images, tmp_path / 'new', *options, '--resume', path)
    record(PRETRAIN, images, tmp_path / 'old', *options, '--resume', tmp_path / 'preempted.pth')
    assert same(tmp_path / 'new/epoch_4.pth', tmp_path / 'old/epoch_4.pth') == []


def test_other_groups_are_matched_by_name(images, halfway, tmp_path):
    """All parameters decay: one group in place of one for every tensor."""
    resumed = record(PRETRAIN, images, tmp_path, '--epochs', 4, '--batch-size', 4, '--resume',
                     halfway[0], fields=['optim_wrapper.paramwise_cfg=None'])
    assert len(resumed.runner.optim_wrapper.optimizer.param_groups) == 1
    assert resumed.steps[0] == (1, 2, 6)
    assert 'optim_wrapper.paramwise_cfg.bias_decay_mult: 0.0 -> (not set)' in said(tmp_path)


NOT_THOSE = 'Note: the images are not those of the checkpoint, or come in another order'


@pytest.mark.parametrize('change, told', [
    ('moved', ''), ('renamed', f'{NOT_THOSE}: some may come twice or not at all in this epoch'),
    ('table', ''), ('reversed', NOT_THOSE)])
def test_as_many_images_that_are_others_are_named(images, halfway, tmp_path, change, told):
    place = shutil.copytree(images, tmp_path / 'moved')
    names = sorted(path.name for path in place.iterdir())
    if change == 'renamed':
        (place / names[7]).rename(place / 'zzz.png')
    elif change != 'moved':
        names = names[::-1] if change == 'reversed' else names
        place = place / 'list.txt'
        place.write_text('\n'.join(names))
    resumed = record(PRETRAIN, place, tmp_path / 'work', '--epochs', 2, '--batch-size', 4,
                     '--resume', halfway[0])
    log = said(tmp_path / 'work')
    assert told in log and (told or NOT_THOSE not in log)
    whole = [name for step in halfway[1].files[4:] + resumed.files for name in step]
    assert len(whole) == 16 and (len(set(whole)) == 16) == (not told)
