"""Every tool tells what is wrong with what it was given in one line, and ends with code 1."""
import sys

import pytest

from tests.support.commands import QUICK, ROOT, load_tool

NO_CONFIG, NO_CHECKPOINT = "there is no config 'no.py'", "there is no checkpoint 'no.pth'"


@pytest.mark.parametrize('tool, arguments, message', [
    ('train.py', ['no.py'], NO_CONFIG),
    ('train.py', [QUICK, '--cfg-options', 'param_scheduler.9.begin=1'], 'a field that was given'),
    ('train.py', ['setup.py'], 'setup.py cannot be read as a config: '),
    ('test.py', ['no.py', 'no.pth'], NO_CONFIG),
    ('test.py', ['configs/classification/vit_s_ft_200e.py', 'no.pth'], NO_CHECKPOINT),
    ('knn.py', ['no.py', 'no.pth', '--data', 'no'], NO_CONFIG),
    ('knn.py', [QUICK, 'no.pth', '--data', 'no'], NO_CHECKPOINT),
    ('embed.py', ['no.pth', 'no', '--out', 'x.npz'], NO_CHECKPOINT),
    ('export.py', ['no.pth', '--format', 'timm', '--out', 'x.pth'], NO_CHECKPOINT),
    ('export.py', ['no.pth', '--format', 'timm', '--out', 'x.pt2'], 'must end with'),
    ('compare.py', ['no.py', '--device', 'cpu'], NO_CONFIG),
    ('sweep.py', ['no.py', '--data', 'no'], "'no' must hold train/<class>/*"),
    ('robustness.py', ['no.py', 'no.pth', '--out', 'x'], NO_CONFIG),
    ('data/check.py', ['no'], "'no' is not a folder"),
    ('data/resize.py', ['no', 'x'], "'no' is not a folder"),
    ('data/make_corruptions.py', ['no', 'x'], "'no' is not a folder"),
    ('analysis/plot_log.py', ['no'], "no log found in 'no'"),
    ('analysis/show_targets.py', ['no.png'], 'no.png: FileNotFoundError'),
    ('analysis/show_reconstruction.py', ['no.py', 'no.pth', 'no'], NO_CONFIG),
    ('analysis/show_reconstruction.py', [QUICK, 'no.pth', 'no'], NO_CHECKPOINT),
    ('analysis/show_predictions.py', ['no.py', 'no.pth'], NO_CONFIG),
    ('benchmark/loader.py', ['no'], "'no' is not a folder")])
def test_mistakes(tool, arguments, message, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, 'argv', [tool, *arguments])
    module = load_tool(f'tools/{tool}')
    with pytest.raises(SystemExit) as stop:
        module.main()
    assert stop.value.code.startswith('error: ') and message in stop.value.code
    assert '\n' not in stop.value.code


def test_every_tool_has_it():
    for path in (ROOT / 'tools').rglob('*.py'):
        if path.name != 'start_processes.py':  # it imports nothing, and hands the code on
            assert '@told_in_one_line()\ndef main(' in path.read_text(), path
