"""What the doctor says of packages, here and where something is wrong."""
import pytest
from packaging.requirements import Requirement

from mmwamim.commands import doctor
from mmwamim.commands.main import main
from tests.support.commands import ROOT


def pretend(monkeypatch, changes):
    real = doctor.installed
    monkeypatch.setattr(doctor, 'installed',
                        lambda name: changes[name] if name in changes else real(name))


def test_the_ranges_are_those_of_the_package():
    tomllib = pytest.importorskip('tomllib')
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    groups = doctor.requirements()
    assert [str(one) for one in groups['']] == [
        str(Requirement(text)) for text in project['dependencies']]
    assert set(groups) == {'', *project['optional-dependencies']}


@pytest.mark.parametrize('changes, fault, advice', [
    ({}, None, None),
    ({'PyWavelets': None}, 'PyWavelets missing: pip install PyWavelets', None),
    ({'torch': '2.7.1'}, None, "out of the range that was tried: pip install 'torch<3,>=2.8'"),
    ({'safetensors': None}, 'safetensors missing: pip install safetensors', None),
    ({'timm': None, 'onnx': None}, None, "timm, onnx missing: pip install 'mmwamim[export]'")])
def test_what_is_missing_and_how_to_get_it(changes, fault, advice, monkeypatch):
    changes = {name: '99' for name in ('timm', 'onnxruntime', 'onnxscript')} | changes
    pretend(monkeypatch, changes)
    found = doctor.Findings()
    doctor.look_at_packages(found)
    ours = [text for text in found.faults if 'missing' in text]
    assert ours == ([fault] if fault else [])
    assert advice is None or any(text.startswith(advice) for text in found.advice), found.advice


def test_of_the_two_distributions_one_is_needed_and_both_are_too_many(monkeypatch):
    pretend(monkeypatch, {f'{kind}mm{part}': None for kind in ('', 'onedl-') for part in (
        'engine', 'pretrain', 'cv')} | {'mmcv-lite': None})
    monkeypatch.setattr(doctor, 'problems', lambda: ([], ['mmcv is installed twice']))
    found = doctor.Findings()
    doctor.look_at_packages(found)
    assert any("pip install 'mmwamim[onedl]'" in text for text in found.faults)
    assert 'mmcv is installed twice' in found.advice
    # The originals are as good.
    pretend(monkeypatch, {'mmengine': '0.10.7', 'mmcv-lite': '2.1.0', 'mmpretrain': '1.2.0',
                          'onedl-mmengine': None, 'onedl-mmcv': None, 'onedl-mmpretrain': None})
    found = doctor.Findings()
    doctor.look_at_packages(found)
    assert not any('mmengine' in text for text in found.faults)


def test_a_step_is_measured_and_the_exit_code_says_whether_all_is_well(capsys, monkeypatch):
    main(['doctor', '--arch', 'digits', '--batch-size', '2', '--steps', '1'])
    out = capsys.readouterr().out
    assert 'images of 64 pixels, batch 2, cpu' in out and 'images/s' in out
    assert 'paramwise' not in out and 'OneDL' not in out
    assert 'Pre-training works here' in out and 'cores' in out
    pretend(monkeypatch, {'PyWavelets': None})
    with pytest.raises(SystemExit) as stop:
        main(['doctor', '--steps', '0'])
    assert stop.value.code == 1 and 'Broken:' in capsys.readouterr().out


@pytest.mark.parametrize('seconds, text', [
    (59, '59 seconds'), (119, '119 seconds'), (150, '2.5 minutes'), (9000, '2.5 hours'),
    (216000, '2.5 days')])
def test_durations(seconds, text):
    assert doctor._duration(seconds) == text
