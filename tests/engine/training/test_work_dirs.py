"""What a run does with the checkpoints of its work directory, and of others."""
import shutil
from io import BytesIO

import pytest
import torch

from mmwamim.engine.checkpoints import AtomicBackend, read_checkpoint, read_header
from mmwamim.engine.checkpoints.finding import run_of
from tests.support.runs import FINETUNE, PRETRAIN, prepare, record
from tests.support.small_data import make_classes, make_images

EACH = ['default_hooks.checkpoint.interval=1', 'default_hooks.checkpoint.max_keep_ckpts=2']
TWO = ['--epochs', 2, '--batch-size', 4]


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp('images'), 8, 80)


def said(work):
    return '\n'.join(path.read_text() for path in work.glob('*/*.log'))


def test_a_run_keeps_its_name_and_going_back_makes_another(images, tmp_path):
    record(PRETRAIN, images, tmp_path, *TWO, fields=EACH)
    first = run_of(tmp_path / 'epoch_2.pth')
    assert run_of(tmp_path / 'epoch_1.pth') == first and first.config == 'vit_tiny_pretrain.py'
    record(PRETRAIN, images, tmp_path, '--epochs', 3, '--batch-size', 4, '--resume', fields=EACH)
    assert run_of(tmp_path / 'epoch_3.pth') == first
    record(PRETRAIN, images, tmp_path, *TWO, '--resume', tmp_path / 'epoch_2.pth', fields=EACH)
    record(PRETRAIN, images, tmp_path, '--epochs', 4, '--batch-size', 4, '--resume',
           tmp_path / 'epoch_2.pth', fields=[*EACH, 'default_hooks.checkpoint.max_keep_ckpts=9'])
    other = run_of(tmp_path / 'epoch_4.pth')
    assert other.id != first.id and other.started > first.started


def test_a_new_run_beside_an_old_one_is_said(images, tmp_path):
    record(PRETRAIN, images, tmp_path, *TWO, fields=EACH)
    record(PRETRAIN, images, tmp_path, *TWO, fields=EACH)
    assert 'already holds epoch_1.pth, epoch_2.pth, encoder.pth of another run (vit_tiny_pret' in \
        said(tmp_path)


def test_an_encoder_whose_checkpoints_are_gone_is_said(images, tmp_path):
    (tmp_path / 'encoder.pth').write_bytes(b'of a long run')
    record(PRETRAIN, images, tmp_path, *TWO, fields=EACH)
    assert 'already holds encoder.pth of another run: this is a new run' in said(tmp_path)


def test_an_old_checkpoint_goes_after_the_new_one_is_there(images, tmp_path, monkeypatch):
    there, put = [], AtomicBackend.put

    def look(self, obj, path):
        there.append(sorted(path.name for path in tmp_path.glob('epoch_*.pth')))
        put(self, obj, path)

    monkeypatch.setattr(AtomicBackend, 'put', look)
    record(PRETRAIN, images, tmp_path, '--epochs', 3, '--batch-size', 4,
           fields=[EACH[0], 'default_hooks.checkpoint.max_keep_ckpts=1'])
    assert there[:3] == [[], ['epoch_1.pth'], ['epoch_2.pth']]
    assert [path.name for path in tmp_path.glob('epoch_*.pth')] == ['epoch_3.pth']
    assert read_header(tmp_path / 'epoch_3.pth')['message_hub']['runtime_info'][
        'keep_ckpt_ids'] == [3]


def test_a_copied_directory_leaves_the_best_of_the_first_alone(tmp_path):
    data = make_classes(tmp_path / 'data', 2, 6)
    fields = [*EACH, 'default_hooks.checkpoint.save_best=auto',
              'default_hooks.checkpoint.rule=less']
    record(FINETUNE, data, tmp_path / 'one', *TWO, fields=fields)
    best = list((tmp_path / 'one').glob('best_*.pth'))
    assert len(best) == 1
    shutil.copytree(tmp_path / 'one', tmp_path / 'two')
    runner = prepare(FINETUNE, data, tmp_path / 'two', '--epochs', 4, '--batch-size', 4, '--resume',
                     fields=fields)
    runner.train()
    assert best[0].is_file()
    infos = runner.message_hub.runtime_info
    assert infos['best_ckpt'] == str(tmp_path / 'two' / best[0].name)
    assert len(list((tmp_path / 'two').glob('best_*.pth'))) == 1


def test_the_average_is_left_where_a_run_has_none(tmp_path):
    data = make_classes(tmp_path / 'data', 2, 6)
    average = ['custom_hooks.0.type=EMAHook', 'custom_hooks.0.momentum=0.1']
    record(FINETUNE, data, tmp_path / 'w', *TWO, fields=[*EACH, *average])
    saved = read_checkpoint(tmp_path / 'w/epoch_2.pth')
    runner = prepare(FINETUNE, data, tmp_path / 'w', *TWO, '--resume', fields=EACH)
    runner.train()  # nothing is left to do
    for name, value in runner.model.state_dict().items():
        assert torch.equal(value, saved['ema_state_dict'][f'module.{name}'])
    assert 'the average is left' in said(tmp_path / 'w')


def test_load_from_is_kept_where_there_is_nothing_to_resume(images, tmp_path):
    record(PRETRAIN, images, tmp_path / 'one', *TWO)
    start = tmp_path / 'one/epoch_2.pth'
    runner = prepare(PRETRAIN, images, tmp_path / 'two', *TWO, '--resume',
                     fields=[f'load_from={start}'])
    assert (runner._load_from, runner._resume) == (str(start), False)


def test_the_validation_that_was_missed_is_done(tmp_path):
    """A kill between an epoch's checkpoint and its validation."""
    data = make_classes(tmp_path / 'data', 2, 6)
    record(FINETUNE, data, tmp_path / 'w', *TWO, fields=EACH)
    state = read_checkpoint(tmp_path / 'w/epoch_2.pth')
    state['validated'] = 1
    buffer = BytesIO()
    torch.save(state, buffer)
    AtomicBackend().put(buffer, tmp_path / 'w/epoch_2.pth')
    resumed = record(FINETUNE, data, tmp_path / 'w', *TWO, '--resume', fields=EACH)
    assert resumed.steps == [] and resumed.runner.train_loop.validated == 2
    assert 'Validating after epoch 2: the checkpoint was written before' in said(tmp_path / 'w')
