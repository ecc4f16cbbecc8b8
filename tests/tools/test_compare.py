import json

from tests.support.commands import run_here


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
