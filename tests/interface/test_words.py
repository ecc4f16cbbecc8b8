"""What is wrong is named as whoever called has written it: in a shell, or in Python."""
import os
import pickle
from pathlib import Path

import pytest

import mmwamim
from mmwamim.commands import compare, doctor, several
from mmwamim.commands.main import main
from mmwamim.errors import UserError


@pytest.mark.parametrize('call, words', [
    (lambda: mmwamim.pretrain('x', batch_size=0), ['pretrain', 'x', '--batch-size', '0']),
    (lambda: mmwamim.finetune('x', 'y', gpus=0), ['finetune', 'x', 'y', '--gpus', '0']),
    (lambda: mmwamim.probe('x', 'y', k=[0, 5]), ['probe', 'x', 'y', '--k', '0', '5']),
    (lambda: mmwamim.embed('x', 'y', out='a.txt'), ['embed', 'x', 'y', '--out', 'a.txt']),
    (lambda: mmwamim.export('x', 'onnx', 'a.txt'),
     ['export', 'x', '--to', 'onnx', '--out', 'a.txt']),
    (lambda: mmwamim.export('x', 'onnx', 'folder.onnx'),
     ['export', 'x', '--to', 'onnx', '--out', 'folder.onnx']),
    (lambda: mmwamim.sweep('x', 'y', curve=0), ['sweep', 'x', '--data', 'y', '--curve', '0']),
    (lambda: compare.compare('vit_b', warmup=-1), ['compare', 'vit_b', '--warmup', '-1']),
    (lambda: doctor.examine(batch_size=0), ['doctor', '--batch-size', '0'])])
def test_each_door_names_its_own_words(call, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('folder.onnx').mkdir()
    option = words[-3 if '5' in words else -2]
    with pytest.raises(UserError) as python:
        call()
    with pytest.raises(SystemExit) as shell:
        main(words)
    assert str(python.value).startswith(option.strip('-').replace('-', '_'))
    assert str(shell.value).startswith(f'error: {option}') and '--' not in str(python.value)
    with pytest.raises(UserError) as python:
        call()  # the shell's words end with its command
    assert '--' not in str(python.value)


def test_processes_of_a_call_have_its_words(tmp_path, monkeypatch):
    def start(processes, words, has_gpus):
        folder = Path(words[-1])
        name, arguments, keywords, shell = pickle.loads((folder / several.CALL).read_bytes())
        (folder / several.RESULT).write_bytes(pickle.dumps(shell))

    monkeypatch.setattr(several, 'run_processes', start)
    call = several.takes_gpus(len)
    assert call(gpus=2) is False
    with several.in_shell():
        assert call(gpus=2) is True
    # And what a process makes of it.
    def told(**_):
        raise UserError(several.option('workers', 3))

    monkeypatch.setattr('mmwamim.interface.words.told', told, raising=False)
    monkeypatch.setattr('mmwamim.engine.training.preemption.StopRequest.listen', lambda: None)
    monkeypatch.setattr(several.signal, 'pthread_sigmask', lambda *_: None)
    monkeypatch.setitem(os.environ, 'RANK', '0')
    for shell, expected in ((True, '--workers 3'), (False, 'workers=3')):
        folder = tmp_path / str(shell)
        folder.mkdir()
        call = ('mmwamim.interface.words:told', (), {}, shell)
        (folder / several.CALL).write_bytes(pickle.dumps(call))
        assert several._take_part(folder) == 1
        assert str(pickle.loads((folder / several.ERROR).read_bytes())[1]) == expected
