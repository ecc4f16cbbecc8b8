"""Loaders that cannot give what is asked of them say which setting to change."""
import resource
import subprocess
import sys
import textwrap

import pytest

from mmwamim.engine.training.batches import advice
from mmwamim.errors import UserError
from tests.support.commands import ROOT
from tests.support.runs import FINETUNE, LINEAR, prepare, record
from tests.support.small_data import make_classes


@pytest.fixture(scope='module')
def classes(tmp_path_factory):
    return make_classes(tmp_path_factory.mktemp('classes'), 2, 6)


def test_fewer_images_than_a_batch(classes, tmp_path):
    seen = record(FINETUNE, classes, tmp_path, '--epochs', 2, '--batch-size', 50, '--auto-scale-lr',
                  fields=['auto_scale_lr.base_batch_size=6'])
    assert [len(files) for files in seen.files] == [12, 12]
    assert max(max(rates) for rates in seen.rates) == pytest.approx(2e-3)  # of 12 images, not of 50
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert '12 images are fewer than a batch of 50 x 1: taking 12 x 1' in log


def test_a_probe_with_one_image_a_step(classes, tmp_path):
    with pytest.raises(UserError, match=r'batch_size\) to at least 2 images a process'):
        record(LINEAR, classes, tmp_path, '--epochs', 1, '--batch-size', 1)


def test_no_workers_for_the_validation(classes, tmp_path):
    runner = prepare(FINETUNE, classes, tmp_path, '--epochs', 1, '--batch-size', 4, fields=[
        'val_dataloader.num_workers=0', 'val_dataloader.persistent_workers=True'])
    runner.train()
    assert runner.val_dataloader.num_workers == 0


def test_too_many_open_files_names_the_limit():
    """A real one: a loader's workers, of a process that may open few files."""
    script = textwrap.dedent('''
        import resource, torch
        from mmwamim.engine.training.batches import explained
        from mmwamim.errors import told_in_one_line

        @told_in_one_line()
        def main():
            loader = torch.utils.data.DataLoader([torch.zeros(4)] * 400, num_workers=1)
            resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
            with explained():
                kept = [batch for batch in loader]

        main()
    ''')
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', script], cwd=ROOT, text=True,
                          capture_output=True, timeout=120)
    assert done.returncode == 1
    assert 'error: too many open files, more than the limit of 48: raise it before the start ' \
        '(ulimit -n 65536), or lower train_dataloader.num_workers' in done.stderr


@pytest.mark.parametrize('text', [
    'DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader\'s '
    'workers are out of shared memory. Please try to raise your shared memory limit.',
    'unable to allocate shared memory(shm) for file </torch_7_1>: No space left on device (28)',
    'unable to write to file </torch_12_34>: No space left on device (28)'])
def test_too_small_shared_memory_names_the_settings(text):
    said = advice(RuntimeError(text))
    assert '/dev/shm has' in said and '--shm-size=16g' in said
    assert 'train_dataloader.num_workers' in said


def test_other_errors_are_left_alone():
    assert advice(OSError(28, 'No space left on device')) is None  # of the work directory
    assert advice(RuntimeError('CUDA out of memory')) is None
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 48
