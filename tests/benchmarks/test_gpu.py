"""The script of the GPU's figures, rehearsed on the CPU."""
import json

import pytest
import torch

from mmwamim.benchmarks import gpu
from tests.support.commands import ROOT, run, run_here

FIGURES = dict(seconds=0.5, speed=1024., host=0.02, flops=2e10, memory=2048., device='GPU X',
               torch='2', of_product=0.5, of_peak=0.25)


def test_a_row_that_fails_says_so_and_the_others_go_on(tmp_path):
    # What is known already is not measured again; left are a batch of no images, which fails
    # whoever is asked, and a row after it.
    known = [gpu.Row('vit_s', method, 'eager', batch, kept) for method, batch, kept in (
        ('WaMIM', 0, False), ('MAE', 0, False), ('MAE', 2, False), ('WaMIM', 2, True))]
    for row in known:
        seconds = 1. if row.method == 'MAE' else 0.5
        (tmp_path / f'{row.name}.json').write_text(json.dumps(dict(FIGURES, seconds=seconds)))
    code, log = run_here('tools/benchmark/gpu.py', '--rehearse', '--encoders', 'vit_s', '--modes',
                         'eager', '--batches', 0, 2, '--rounds', 1, '--warmup', 1, '--out',
                         tmp_path, '--device', 'cpu')
    assert code == 0, log
    assert not any(f'{row.name}\n' in log for row in known)
    lines = [line for line in (tmp_path / 'table.md').read_text().splitlines()
             if line.startswith('| vit_s')]
    assert len(lines) == 6 and '| 0.500 |' in lines[0]
    assert lines[2].startswith('| vit_s | WaMIM | eager, checkpointing | 0 | IndexError')
    assert (tmp_path / 'vit_s_WaMIM_eager_0_with_cp.log').read_text().strip()
    found = json.loads((tmp_path / 'vit_s_WaMIM_eager_2.json').read_text())
    assert found['seconds'] > 0 and found['host'] > 0 and found['memory'] > 100
    assert found['speed'] == pytest.approx(2 / found['seconds'])
    assert found['flops'] > 1e7 and found['torch'] == torch.__version__
    assert found['of_peak'] is None and 0 < found['of_product'] < 1


def test_one_command_starts_it(tmp_path):
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\necho "$PYTHONPATH" "$@"\n')
    python.chmod(0o755)
    code, log = run('tools/benchmark/gpu.sh', '--batches', 2, PYTHON=str(python), PYTHONPATH='')
    assert code == 0
    assert log == f'{ROOT} -W ignore {ROOT}/tools/benchmark/gpu.py --batches 2\n'


def test_the_table_by_hand():
    ours = gpu.Row('vit_b', 'WaMIM', 'eager', 512)
    table = gpu.format_table({
        ours: FIGURES, ours._replace(method='MAE'): dict(FIGURES, seconds=1.),
        ours._replace(mode='compiled'): FIGURES,
        ours._replace(mode='compiled', method='MAE'): dict(failed='a|b')}).splitlines()
    assert table[0] == 'GPU X, torch 2'
    assert table[4] == ('| vit_b | WaMIM | eager | 512 | 1024 | 500.0 | 20.0 | 20.0 | 25% | 50% | '
                        '2.0 | 0.500 |')
    assert table[5].endswith('| 2.0 |  |') and table[6].endswith('| 2.0 |  |')
    assert table[7] == '| vit_b | MAE | compiled | 512 | a/b' + ' |' * 8
    assert {line.count('|') for line in table[2:]} == {13}


@pytest.mark.parametrize('code, stderr, said', [
    (1, 'Traceback\ntorch.OutOfMemoryError: CUDA out of memory. Tried ...\n', 'out of memory'),
    (1, "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried", 'out of memory'),
    (-9, '', 'out of memory'), (1, 'Traceback\nValueError: no', 'ValueError: no'),
    (3, '', 'exit code 3')])
def test_what_went_wrong(code, stderr, said):
    assert gpu.explain(code, stderr) == said


def test_rows():
    rows = list(gpu.list_rows(['swin_b'], gpu.MODES, [64, 128]))
    assert len(rows) == len({row.name for row in rows}) == 2 * 6
    assert [row.name for row in rows[:2]] == ['swin_b_WaMIM_eager_64', 'swin_b_SimMIM-192_eager_64']
    assert not any(row.method == 'SimMIM-192' and row.mode == 'graphs' for row in rows)
