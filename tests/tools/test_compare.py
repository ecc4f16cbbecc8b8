import json

import pytest

from mmwamim.engine.config.reading import read_config
from mmwamim.engine.training.measure import count_flops_of_run
from mmwamim.errors import UserError
from tests.support.commands import ROOT, run_here


def compare(*arguments):
    return run_here('tools/compare.py', *arguments)


def test_table_has_ratios_to_the_chosen_row(tmp_path):
    out = tmp_path / 'figures.json'
    code, log = compare('configs/evidence/wamim.py', 'configs/evidence/mae.py:2', '--relative-to',
                        'wamim', '--batch', 4, '--rounds', 3, '--memory', '--device', 'cpu',
                        '--out', out)
    assert code == 0, log
    rows = {row['name']: row for row in json.loads(out.read_text())}
    assert rows['wamim']['batch'] == 4 and rows['mae']['batch'] == 2
    table = {cells[1].strip(): [cell.strip() for cell in cells[1:-1]] for cells in (
        line.split('|') for line in log.splitlines() if line.startswith('| '))}
    assert table['wamim'][7] == '1.000' and table['wamim'][8] == '1.000'
    ratio = rows['wamim']['images_per_second'] / rows['mae']['images_per_second']
    assert table['mae'][7] == f'{ratio:.3f}'
    assert table['mae'][8] == f'{rows["mae"]["flops"] / rows["wamim"]["flops"]:.3f}'
    assert len(rows['mae']['times']) == 3
    assert 0 < rows['mae']['utilisation'] < 1.5
    assert rows['mae']['memory'] > 100


def test_errors_name_what_is_wrong():
    code, log = compare('configs/evidence/wamin.py')
    assert code == 1 and "no config 'configs/evidence/wamin.py'" in log
    code, log = compare('configs/evidence/wamim.py', '--relative-to', 'mae')
    assert code == 1 and "'mae' is none of wamim" in log


def test_flops_of_a_run_whose_images_grow(tmp_path):
    """A quarter of 8 epochs at 16 px, the rest at 32: the mean of two counts of their own."""
    base = f"_base_ = ['{ROOT}/configs/evidence/wamim.py']\n"
    crop = "dict(type='mmwamim.RandomCropToTensor', size={0})"
    pipeline = f"[dict(type='mmwamim.LoadImage'), {crop}]"
    size = ('model = dict(backbone=dict(img_size={0}))\n'
            f'train_dataloader = dict(dataset=dict(pipeline={pipeline}))\n')
    grows = ("train_cfg = dict(max_epochs=8)\ncustom_hooks = [dict(type="
             "'mmwamim.ResolutionScheduleHook', sizes=(16, 32), until=(0.25, 1.))]\n")
    packs = ("train_dataloader = dict(dataset=dict(pipeline=[dict(type='mmwamim.LoadImage'), dict("
             "type='mmwamim.RandomResizedCrop', scale=32), dict(type='PackInputs')]))\n")
    for name, side, more in (('small', 16, ''), ('large', 32, ''), ('grows', 32, grows)):
        (tmp_path / f'{name}.py').write_text(base + size.format(side) + more)
    out = tmp_path / 'figures.json'
    code, log = compare(*(tmp_path / f'{name}.py' for name in ('grows', 'small', 'large')),
                        '--batch', 2, '--rounds', 1, '--device', 'cpu', '--out', out)
    assert code == 0, log
    flops = {row['name']: (row['flops'], row['run_flops'])
             for row in json.loads(out.read_text())}
    small, large = flops['small'][0], flops['large'][0]
    assert flops['small'] == (small, small) and small < 0.5 * large
    assert flops['grows'] == (large, pytest.approx(0.25 * small + 0.75 * large))
    assert 'mean of the run' in log
    model = size.format(32).splitlines(True)[0]
    (tmp_path / 'packs.py').write_text(base + model + packs + grows)
    cfg = read_config(tmp_path / 'packs.py')
    assert count_flops_of_run(cfg, 2) == pytest.approx(flops['grows'][1])
    cfg.train_cfg = dict(max_iters=8)
    with pytest.raises(UserError, match='length is given in epochs'):
        count_flops_of_run(cfg, 2)
