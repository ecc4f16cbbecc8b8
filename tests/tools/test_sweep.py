import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mmwamim.errors import PREEMPTED, Preempted
from tests.support.commands import ROOT, load_tool

tool = load_tool('tools/sweep.py')


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """Two classes that any features tell apart, 8 and 4 images each."""
    root = tmp_path_factory.mktemp('pictures')
    rng = np.random.default_rng(0)
    for split, count in (('train', 8), ('test', 4)):
        for name, level in (('dark', 40), ('light', 200)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(level + rng.normal(0, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f'{i}.png')
    return root


def sweep(pictures, out, *more, configs=('wamim', 'mae')):
    """One epoch of tiny runs; returns the finished process."""
    return subprocess.run(
        [sys.executable, '-W', 'ignore', 'tools/sweep.py',
         *[f'configs/evidence/{name}.py' for name in configs], '--data', str(pictures), '--out',
         str(out), '--epochs', '1', *more, '--cfg-options', 'train_dataloader.dataset.indices=16',
         'train_dataloader.batch_size=8', 'train_dataloader.num_workers=0'],
        cwd=ROOT, capture_output=True, text=True)


def test_table_of_all_runs_and_nothing_is_done_twice(pictures, tmp_path):
    done = sweep(pictures, tmp_path, '--frozen', '--seeds', '0', '1', configs=('wamim', ))
    assert done.returncode == 0, done.stdout + done.stderr
    runs = json.loads((tmp_path / 'runs.json').read_text())
    assert [run['seed'] for run in runs['wamim']] == [0, 1]
    assert all(run['linear'] == 100 for run in runs['wamim'])  # dark and light
    assert all(run['pretrain_seconds'] > 0 and run['epochs'] == 1 for run in runs['wamim'])
    assert runs['wamim'][0]['loss'] != runs['wamim'][1]['loss']
    with (tmp_path / 'table.csv').open() as file:
        assert [row['seed'] for row in csv.DictReader(file)] == ['0', '1']
    row = next(line for line in (tmp_path / 'table.md').read_text().splitlines()
               if line.startswith('| wamim'))
    assert '| 0, 1 | 1 |' in row and '100.00 ± 0.00' in row
    assert (tmp_path / 'table.png').stat().st_size > 5000

    checkpoint = tmp_path / 'wamim/seed0/pretrain/encoder.pth'
    written = checkpoint.stat().st_mtime_ns
    again = sweep(pictures, tmp_path, '--frozen', '--seeds', '0', '1', configs=('wamim', ))
    assert again.returncode == 0
    assert checkpoint.stat().st_mtime_ns == written
    assert json.loads((tmp_path / 'runs.json').read_text()) == runs


def test_a_run_that_fails_is_named_and_the_others_go_on(pictures, tmp_path):
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', 'tools/sweep.py', 'configs/evidence/mae.py',
         'configs/evidence/wamim.py', '--data', str(pictures), '--out', str(tmp_path / 'b'),
         '--epochs', '1', '--cfg-options', 'model.mask_ratio=0.75',
         'train_dataloader.dataset.indices=16', 'train_dataloader.batch_size=8'],
        cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1  # MAE has no such field
    assert '1 of 2 runs failed' in done.stderr and 'mae, seed 0' in done.stderr
    assert 'mask_ratio' in done.stderr
    assert 'wamim' in json.loads((tmp_path / 'b/runs.json').read_text())


def test_results_that_were_made_with_other_settings_are_not_taken(tmp_path):
    done, result = tmp_path / 'run/result.json', {}
    settings = dict(data='/x', epochs=1, options=['a=1'], config_sha256='12')
    tool.agree(result, 'pretrain', settings, done)
    assert json.loads(done.read_text())['settings'] == dict(pretrain=settings)
    tool.agree(result, 'pretrain', settings, done)
    tool.agree(result, 'frozen', dict(data='/x', most=None), done)
    for name, value, message in (('options', ['a=2'], r"options: \['a=1'\] -> \['a=2'\]"),
                                 ('epochs', 2, 'epochs: 1 -> 2'), ('data', '/y', "'/x' -> '/y'"),
                                 ('config_sha256', '13', "'12' -> '13'")):
        with pytest.raises(RuntimeError, match=f'run was made with other settings .*{message}'):
            tool.agree(result, 'pretrain', dict(settings, **{name: value}), done)
    with pytest.raises(RuntimeError, match='frozen in .*most: None -> 9'):
        tool.agree(result, 'frozen', dict(data='/x', most=9), done)
    with pytest.raises(RuntimeError, match='options'):  # of an earlier version
        tool.agree(dict(options=['a=2'], epochs=1), 'pretrain', settings, done)
    tool.agree(dict(options=['a=1'], epochs=1), 'pretrain', settings, done)


def test_a_run_that_was_asked_to_stop_stops_the_sweep(tmp_path):
    with pytest.raises(Preempted):
        tool.execute([sys.executable, '-c', f'raise SystemExit({PREEMPTED})'], tmp_path / 'x.log')
    with pytest.raises(RuntimeError, match='exit code 3'):
        tool.execute([sys.executable, '-c', 'raise SystemExit(3)'], tmp_path / 'x.log')


def test_errors_before_anything_runs(pictures, tmp_path):
    done = sweep(pictures, tmp_path, configs=('wamin', ))
    assert done.returncode == 1 and "no config 'configs/evidence/wamin.py'" in done.stderr
    done = sweep(tmp_path, tmp_path)
    assert done.returncode == 1 and 'must hold train' in done.stderr
