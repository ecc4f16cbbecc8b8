"""The newest checkpoint is the one that has got furthest, by what is in it, and of which run."""
import os
import shutil

import pytest
import torch
from mmengine.config import Config

from mmwamim.engine.checkpoints import latest_checkpoint, write_atomically
from mmwamim.engine.checkpoints.finding import last_of_run, list_checkpoints
from mmwamim.engine.checkpoints.settling import settle_resume
from mmwamim.errors import UserError


def save(path, epoch, step, steps=10, run=None, counts='epochs'):
    """A checkpoint as a run writes it, with as few fields as finding it needs."""
    infos = dict(run=dict(id=run[0], started=run[1], config=f'{run[0]}.py')) if run else {}
    progress = dict(steps=steps, counts=counts)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(meta=dict(epoch=epoch, iter=step), state_dict={}, progress=progress,
                    optimizer={}, message_hub=dict(runtime_info=infos)), path)
    return path


def touch_in_order(*paths):
    for time, path in enumerate(paths):
        os.utime(path, (1000 + time, 1000 + time))


def test_a_copied_stale_file_is_not_the_newest(tmp_path):
    late, stale = save(tmp_path / 'epoch_11.pth', 11, 110), save(tmp_path / 'preempted.pth', 3, 35)
    touch_in_order(late, stale)
    assert latest_checkpoint(tmp_path) == late
    touch_in_order(stale, late)
    assert latest_checkpoint(tmp_path) == late
    assert latest_checkpoint(shutil.copytree(tmp_path, tmp_path / 'copy')).name == 'epoch_11.pth'


@pytest.mark.parametrize('order', [
    # (file, epoch, step, steps of an epoch), the oldest first
    [('epoch_9.pth', 9, 90, 10), ('epoch_10.pth', 10, 100, 10)],
    [('epoch_2.pth', 2, 20, 10), ('preempted.pth', 2, 25, 10), ('epoch_3.pth', 3, 30, 10)],
    [('preempted.pth', 2, 30, 10), ('epoch_3.pth', 3, 30, 10)],  # at the end of the third epoch
    # Steps of another size since epoch 4: fewer of them, and further on.
    [('epoch_4.pth', 4, 40, 10), ('preempted.pth', 4, 9, 2), ('epoch_5.pth', 5, 10, 2)],
    [('iter_48.pth', 4, 48, 10), ('iter_52.pth', 5, 52, 10)]])
def test_the_order_is_that_of_the_epochs_done(tmp_path, order):
    paths = [save(tmp_path / name, epoch, step, steps) for name, epoch, step, steps in order]
    touch_in_order(*reversed(paths))
    assert [one.path for one in list_checkpoints(tmp_path)] == paths


def test_runs_that_count_steps_are_ordered_by_steps(tmp_path):
    paths = [save(tmp_path / name, 0, step, counts='steps') for name, step in (
        ('iter_900.pth', 900), ('preempted.pth', 950), ('iter_1000.pth', 1000))]
    assert [one.path for one in list_checkpoints(tmp_path)] == paths


def test_files_of_older_versions_are_ordered_too(tmp_path):
    for epoch in (9, 10, 11):
        torch.save(dict(meta=dict(epoch=epoch, iter=epoch * 7), state_dict={}),
                   tmp_path / f'epoch_{epoch}.pth')
    torch.save(dict(meta=dict(epoch=10, iter=72), steps_per_epoch=7, state_dict={}),
               tmp_path / 'preempted.pth')
    assert [one.path.stem for one in list_checkpoints(tmp_path)] == [
        'epoch_9', 'epoch_10', 'preempted', 'epoch_11']


def test_two_runs_are_told_apart(tmp_path, capsys):
    for epoch in (8, 9):
        save(tmp_path / f'epoch_{epoch}.pth', epoch, 10 * epoch, run=('old', 1e9))
    ours = save(tmp_path / 'epoch_2.pth', 2, 20, run=('new', 1.1e9))
    assert latest_checkpoint(tmp_path) == ours
    said = capsys.readouterr().err
    assert 'holds checkpoints of several runs: epoch_8.pth, epoch_9.pth are of old.py' in said
    assert 'going on with new.py' in said


def test_links_and_damaged_files(tmp_path, capsys):
    real = save(tmp_path / 'elsewhere/x.pth', 5, 50)
    (tmp_path / 'epoch_5.pth').symlink_to(real)
    (tmp_path / 'epoch_7.pth').symlink_to(tmp_path / 'nowhere.pth')
    (tmp_path / 'epoch_6.pth').write_bytes(b'')
    assert latest_checkpoint(tmp_path) == tmp_path / 'epoch_5.pth'
    said = capsys.readouterr().err
    assert 'epoch_6.pth is damaged' in said and 'epoch_7.pth is damaged' in said


def test_renamed_files_and_what_is_no_state_of_a_run(tmp_path):
    """By what is in them: MMEngine's filename_tmpl, copies, best weights, encoders."""
    save(tmp_path / 'epoch_2.pth', 2, 20)
    renamed = save(tmp_path / 'state at 5 (copy).pth', 5, 50)
    for name, epoch in (('best_accuracy_top1_epoch_9.pth', 9), ('encoder.pth', 12)):
        torch.save(dict(meta=dict(epoch=epoch, iter=10 * epoch), state_dict={}), tmp_path / name)
    (tmp_path / 'notes.pth').write_text('no checkpoint at all')
    assert latest_checkpoint(tmp_path) == renamed


def test_checkpoints_in_a_folder_of_their_own_and_a_folder_to_resume_from(tmp_path):
    work, other = tmp_path / 'work/run', tmp_path / 'elsewhere'
    save(work / 'preempted.pth', 3, 35)
    late = save(other / 'run/epoch_4.pth', 4, 40)
    cfg = Config(dict(work_dir=str(work), model={}, default_hooks=dict(
        checkpoint=dict(out_dir=str(other)))))
    settle_resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (True, str(late))
    settle_resume(cfg, str(work))
    assert cfg.load_from == str(work / 'preempted.pth')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='empty: no checkpoint is in this folder'):
        settle_resume(cfg, str(tmp_path / 'empty'))


def test_the_last_checkpoint_of_a_run_is_none_of_another_run(tmp_path):
    save(tmp_path / 'epoch_9.pth', 9, 90, run=('old', 1e9))
    assert last_of_run(tmp_path, 'new') is None
    ours = save(tmp_path / 'epoch_1.pth', 1, 10, run=('new', 1.1e9))
    save(tmp_path / 'epoch_2.pth', 2, 20, run=('new', 1.1e9)).write_bytes(b'cut')
    assert last_of_run(tmp_path, 'new') == ours


@pytest.mark.parametrize('mask, mode', [(0o022, 0o644), (0o007, 0o660), (0o077, 0o600)])
def test_files_have_the_mode_of_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_atomically(b'x', tmp_path / 'epoch_1.pth')
    finally:
        os.umask(before)
    assert (tmp_path / 'epoch_1.pth').stat().st_mode & 0o777 == mode
    assert os.listdir(tmp_path) == ['epoch_1.pth']
