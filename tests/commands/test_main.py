"""The command line: help, words, fields, and how little an import costs."""
import subprocess
import sys

import pytest
from mmengine.config import Config

from mmwamim.commands.fields import check_names, flatten, is_given, parse_fields
from mmwamim.commands.main import COMMANDS, load, main, parser_of, quiet_import
from mmwamim.errors import UserError
from tests.support.commands import ROOT


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_has_help_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, '--help'])
    out = capsys.readouterr().out
    assert stop.value.code == 0 and f'usage: mmwamim {name}' in out
    assert f'\n    mmwamim {name}' in out
    assert '``' not in out


def test_the_overview_lists_every_command(capsys):
    main([])
    first = capsys.readouterr().out
    main(['--help'])
    assert capsys.readouterr().out == first
    assert all(f'\n  {name} ' in first for name in COMMANDS)


@pytest.mark.parametrize('words, message', [
    (['train', 'configs/wamim/vit_b_400e.py', '--data', 'nowhere'], "'nowhere' is not a folder"),
    (['train', 'vit_b_400e', '--data', 'nowhere'], "'nowhere' is not a folder"),
    (['test', 'configs/classification/vit_s_ft_200e.py', 'no.pth'], "no checkpoint 'no.pth'")])
def test_configs_of_the_package_are_found_from_anywhere(words, message, tmp_path, monkeypatch):
    """As the help of both and the documentation name them; a wheel has no configs/ beside it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert message in stop.value.code


@pytest.mark.parametrize('words, message', [
    (['pretrian'], "there is no command 'pretrian'; did you mean 'pretrain'?"),
    (['pretrain', 'nowhere'], "'nowhere' is not a folder, nor anything"),
    (['pretrain', '.', '--out', ''], "--out is empty (''): give a path"),
    (['show', '.', '--out='], "--out is empty (''): give a path"),
    (['pretrain', '.', 'epochs'], "'epochs' is neither an option nor KEY=VALUE"),
    (['finetune', 'no.pth', '.'], "there is no checkpoint 'no.pth'"),
    (['probe', 'no.pth', '.'], "there is no checkpoint 'no.pth'"),
    (['embed', 'no.pth', '.', '--out', 'x.npz'], "there is no checkpoint 'no.pth'"),
    (['export', 'no.pth', '--to', 'timm', '--out', 'x.pth'], "there is no checkpoint 'no.pth'"),
    (['show', 'nowhere'], "there is no run, checkpoint or image 'nowhere'"),
    (['compare', 'vit_x'], "there is no encoder 'vit_x'"),
    (['compare', 'vit_s:x'], 'what follows the colon is the batch'),
    (['check', 'nowhere'], "'nowhere' is not a folder"),
    (['resize', 'nowhere', 'x'], "'nowhere' is not a folder"),
    (['resize', '.', '.'], 'the two folders must differ'),
    (['statistics', 'nowhere'], "'nowhere' is not a folder"),
    (['sweep', 'no.py', '--data', 'nowhere'], "'nowhere' must hold train/<class>/*"),
    (['robustness', 'no.py', 'no.pth', '--out', 'x'], "there is no config 'no.py'"),
    (['corruptions', 'nowhere', 'x'], "'nowhere' is not a folder"),
    (['predictions', 'no.py', 'no.pth'], "there is no config 'no.py'"),
    (['predictions', 'vit_s_100e', 'no.pth'], 'is neither of mmdet nor of mmseg'),
    (['doctor', '--steps', '-1'], '--steps at least 0'),
    (['train', 'no.py'], "there is no config 'no.py'"),
    (['test', 'no.py', 'no.pth'], "there is no config 'no.py'")])
def test_mistakes_are_one_line(words, message):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code.startswith('error: ') and message in stop.value.code
    assert '\n' not in stop.value.code


def test_what_others_print_of_unneeded_parts_is_left_out(tmp_path, monkeypatch, capsys):
    (tmp_path / 'noisy_trial.py').write_text('''
import sys
from mmengine.logging import MMLogger
print('Could not import OneDL')
MMLogger('noisy_trial').warning(
    'Line NMS is not compiled. Most likely when ...\\nThis model cannot work without CUDA, ...\\n'
    'To make sure that the package is compiled with CUDA support use FORCE_CUDA=1 mim ...\\n')
print('of use')
''')
    monkeypatch.syspath_prepend(tmp_path)
    quiet_import('noisy_trial')
    monkeypatch.delitem(sys.modules, 'noisy_trial')
    monkeypatch.setattr('mmwamim.commands.main.UNNEEDED', ('nothing', ))
    assert capsys.readouterr().out == 'of use\n'
    quiet_import('noisy_trial')  # all of it goes where it is caught
    assert 'Line NMS is not compiled' in capsys.readouterr().out


def test_a_reader_of_a_pipe_may_leave():
    """As head does. Not to the end of the words alone: what Python still holds goes as well."""
    code = 'from mmwamim.commands.main import main; main(["--help"]); print("x" * 99999); main([])'
    process = subprocess.Popen([sys.executable, '-c', f'import sys; {code}'], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    code = process.wait()
    assert (code, process.stderr.read()) == (141, '')


def test_a_folder_that_is_gone_is_told(tmp_path, monkeypatch):
    (tmp_path / 'gone').mkdir()
    monkeypatch.chdir(tmp_path / 'gone')
    (tmp_path / 'gone').rmdir()
    with pytest.raises(SystemExit, match='the current folder is gone: cd to one'):
        main(['export', 'x.pth', '--to', 'timm', '--out', 'y.pth'])
    monkeypatch.chdir(tmp_path)


def test_what_is_missing_is_named_alone(capsys):
    with pytest.raises(SystemExit):
        main(['pretrain'])
    assert capsys.readouterr().err.endswith('arguments are required: FOLDER\n')


def test_fields_go_before_and_after_options():
    parser = parser_of(load('pretrain'))
    for words in (['F', 'a.b=1', '--epochs', '3'], ['F', '--epochs', '3', 'a.b=1'],
                  ['--epochs', '3', 'F', 'a.b=1']):
        args = parser.parse_intermixed_args(words)
        assert (args.data, args.epochs, args.fields) == ('F', 3, ['a.b=1'])


def test_fields_have_the_types_of_mmengine():
    words = ['a.b=0.6', 'c=(0,1)', 'd=[x,y]', 'e=True', 'f=None', 'g=a=b']
    assert parse_fields(words) == {
        'a.b': 0.6, 'c': (0, 1), 'd': ['x', 'y'], 'e': True, 'f': None, 'g': 'a=b'}
    for word in ('epochs', '=3', ''):
        with pytest.raises(UserError, match='neither an option nor KEY=VALUE'):
            parse_fields([word])


@pytest.mark.parametrize('fields, name, given', [
    ({'a.b': 1}, 'a.b', True), ({'a.b.c': 1}, 'a.b', True), ({'a': dict(b=1)}, 'a.b', True),
    ({'a': dict(c=1)}, 'a.b', False), ({'a': 5}, 'a.b', True), ({'a.bc': 1}, 'a.b', False),
    ({'a': {'b.c': 1}}, 'a.b', True), ({}, 'a', False)])
def test_what_was_given(fields, name, given):
    assert is_given(flatten(fields), name) is given


def test_nested_and_dotted_fields_together_lose_none():
    cfg = Config(dict(model=dict(a=1, b=dict(c=2), arch='x')))
    given = {'model.a': 5, 'model': dict(b=dict(c=6), arch=dict(_delete_=True, dims=3))}
    cfg.merge_from_dict(flatten(given))
    assert cfg.to_dict() == dict(model=dict(a=5, b=dict(c=6), arch=dict(dims=3)))


def test_a_misspelt_section_is_told_with_the_nearest_name():
    cfg = Config(dict(model=dict(), mine=1))
    check_names({'model.x': 1, 'mine': 2, 'optim_wrapper.optimizer.lr': 1}, cfg, ['epochs'])
    with pytest.raises(UserError, match="epoch: .* did you mean 'epochs'"):
        check_names({'epoch': 1}, cfg, ['epochs'])


def test_importing_the_package_imports_nothing_heavy():
    script = '''import sys, mmwamim
assert not {'torch', 'mmengine', 'numpy'} & set(sys.modules), 'heavy'
assert {'pretrain', 'finetune', 'probe', 'embed', 'export'} <= set(dir(mmwamim))
try:
    mmwamim.pretain
except AttributeError as error:
    print(error)
from mmwamim.commands.main import main
main(['--version'])
assert 'torch' not in sys.modules'''
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "module 'mmwamim' has no attribute 'pretain'" in done.stdout
