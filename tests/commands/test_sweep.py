"""mmwamim sweep: what is run, in which processes, and the table that comes out."""
import csv
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mmwamim.commands import sweep as command
from mmwamim.commands.main import main
from mmwamim.commands.sweep_curves import probe_checkpoints, seconds_by_epoch
from mmwamim.errors import PREEMPTED, Preempted, UserError
from tests.support.commands import ROOT, run_here
from tests.support.processes import call_in_ranks

FEW = ['train_dataloader.dataset.indices=16', 'train_dataloader.batch_size=8',
       'train_dataloader.num_workers=0']


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


@pytest.fixture
def forked(monkeypatch):
    """The processes that are started are forks of this one."""
    def run(words, env, stdout, stderr):
        assert words[:5] == [sys.executable, '-W', 'ignore', '-m', 'mmwamim']
        here = Path.cwd()

        def called():
            os.chdir(here)
            main(words[5:])
        code, printed = call_in_ranks(called, ranks=1)
        stdout.write(printed)
        return SimpleNamespace(returncode=code)
    monkeypatch.setattr(command, 'subprocess', SimpleNamespace(run=run, STDOUT=None))


def test_table_of_all_runs_and_nothing_is_done_twice(pictures, tmp_path, monkeypatch, forked):
    monkeypatch.chdir(tmp_path)  # a config by its path in the repository is found from anywhere
    given = dict(data=pictures, out=Path('out'), frozen=True, seeds=[0, 1], epochs=1,
                 cfg_options=FEW)
    swept = command.sweep('configs/evidence/wamim.py', **given)
    runs = json.loads(Path('out/runs.json').read_text())
    assert swept.failed == [] and swept.runs == runs
    assert swept.table == Path('out/table.md').absolute()
    assert [run['seed'] for run in runs['wamim']] == [0, 1]
    assert all(run['linear'] == 100 for run in runs['wamim'])  # dark and light
    assert all(run['pretrain_seconds'] > 0 and run['epochs'] == 1 for run in runs['wamim'])
    assert runs['wamim'][0]['loss'] != runs['wamim'][1]['loss']
    with Path('out/table.csv').open() as file:
        assert [row['seed'] for row in csv.DictReader(file)] == ['0', '1']
    row = next(line for line in swept.table.read_text().splitlines()
               if line.startswith('| wamim'))
    assert '| 0, 1 | 1 |' in row and '100.00 ± 0.00' in row
    assert Path('out/table.png').stat().st_size > 5000

    checkpoint = Path('out/wamim/seed0/pretrain/encoder.pth')
    written = checkpoint.stat().st_mtime_ns
    monkeypatch.setattr(command, 'execute', None)  # nothing is started
    again = command.sweep('configs/evidence/wamim.py', **given)
    assert checkpoint.stat().st_mtime_ns == written
    assert again.runs == json.loads(Path('out/runs.json').read_text()) == runs


def test_curves_have_the_time_and_accuracy_of_each_checkpoint(pictures, tmp_path, monkeypatch,
                                                                 forked):
    given = dict(data=pictures, out=tmp_path, curve=2, epochs=5, cfg_options=FEW)
    run, = command.sweep('configs/evidence/wamim.py', **given).runs['wamim']
    assert [point['epoch'] for point in run['curve']] == [2, 4]
    assert all(point['linear'] == 100 for point in run['curve'])  # dark and light
    first, second = (point['seconds'] for point in run['curve'])
    # An epoch takes less than the tenth of a second that times are rounded to, so two may be equal.
    assert 0 < first <= second <= run['pretrain_seconds']
    assert Image.open(tmp_path / 'curves.png').size[0] > 1000
    monkeypatch.setattr(command, 'execute', None)  # nothing is started
    assert command.sweep('configs/evidence/wamim.py', **given).runs['wamim'] == [run]
    with pytest.raises(UserError, match='^curve must be at least 1, not 0'):
        command.sweep('configs/evidence/wamim.py', **dict(given, curve=0))


def test_time_of_steps_counts_what_was_repeated_once(tmp_path):
    for start, rows in (('a', [(1, 4, 2.), (2, 8, 3.), (3, 10, 9.)]), ('b', [(3, 12, 1.)])):
        folder = tmp_path / 'pretrain' / start / 'vis_data'
        folder.mkdir(parents=True)
        (folder / 'scalars.json').write_text('\n'.join(
            json.dumps(dict(epoch=epoch, step=step, time=seconds, loss=1.))
            for epoch, step, seconds in rows))
    assert seconds_by_epoch(tmp_path / 'pretrain') == {1: 8., 2: 20., 3: 20 + 18. + 2.}
    with pytest.raises(RuntimeError, match='pretrain holds no checkpoint of each 2 epochs'):
        probe_checkpoints(tmp_path, 2, None)


def test_a_run_that_fails_is_named_and_the_others_go_on(pictures, tmp_path):
    code, log = run_here(
        'tools/sweep.py', 'configs/evidence/mae.py', 'configs/evidence/wamim.py', '--data',
        pictures, '--out', tmp_path / 'b', '--epochs', 1, '--launch',
        f'{sys.executable} -W ignore tools/train.py {{config}}', '--cfg-options',
        'model.mask_ratio=0.75', *FEW)
    assert code == 1, log  # MAE has no such field
    assert 'error: 1 of 2 runs failed' in log and 'mae, seed 0' in log
    assert 'mask_ratio' in log
    assert 'wamim' in json.loads((tmp_path / 'b/runs.json').read_text())


def test_results_that_were_made_with_other_settings_are_not_taken(tmp_path):
    done, result = tmp_path / 'run/result.json', {}
    settings = dict(data='/x', epochs=1, options=['a=1'], config_sha256='12')
    command.agree(result, 'pretrain', settings, done)
    assert json.loads(done.read_text())['settings'] == dict(pretrain=settings)
    command.agree(result, 'pretrain', settings, done)
    command.agree(result, 'frozen', dict(data='/x', most=None), done)
    for name, value, message in (('options', ['a=2'], r"options: \['a=1'\] -> \['a=2'\]"),
                                 ('epochs', 2, 'epochs: 1 -> 2'), ('data', '/y', "'/x' -> '/y'"),
                                 ('config_sha256', '13', "'12' -> '13'")):
        with pytest.raises(RuntimeError, match=f'run was made with other settings .*{message}'):
            command.agree(result, 'pretrain', dict(settings, **{name: value}), done)
    with pytest.raises(RuntimeError, match='frozen in .*most: None -> 9'):
        command.agree(result, 'frozen', dict(data='/x', most=9), done)
    with pytest.raises(RuntimeError, match='options'):  # of an earlier version
        command.agree(dict(options=['a=2'], epochs=1), 'pretrain', settings, done)
    command.agree(dict(options=['a=1'], epochs=1), 'pretrain', settings, done)


def test_a_run_that_was_asked_to_stop_stops_the_sweep(tmp_path):
    with pytest.raises(Preempted):
        command.execute([sys.executable, '-c', f'raise SystemExit({PREEMPTED})'],
                        tmp_path / 'x.log')
    with pytest.raises(RuntimeError, match='exit code 3'):
        command.execute([sys.executable, '-c', 'raise SystemExit(3)'], tmp_path / 'x.log')


def test_scripts_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = command.Plan('data', tmp_path, None, False, None, None, None, None,
                        'tools/dist_train.sh {config} 8', [], {})
    config = Path("it's.py")
    assert plan.start(config) == [str(ROOT / 'tools/dist_train.sh'), "it's.py", '8']
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools/dist_train.sh').write_text('')  # the user's own
    assert plan.start(config)[0] == 'tools/dist_train.sh'


def test_errors_before_anything_runs(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(command, 'execute', None)
    with pytest.raises(UserError, match="no config 'configs/evidence/wamin.py'"):
        command.sweep('configs/evidence/wamin.py', pictures, out=tmp_path)
    with pytest.raises(UserError, match='must hold train'):
        command.sweep('configs/evidence/wamim.py', tmp_path, out=tmp_path)
    with pytest.raises(UserError, match='the same file name'):
        command.sweep(['configs/evidence/wamim.py', 'configs/evidence/imagenette/wamim.py'],
                      pictures, out=tmp_path)
