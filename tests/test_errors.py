import re

import pytest
from torch.utils.data import DataLoader, Dataset

from mmwamim.datasets.listing import NoImages
from mmwamim.errors import UserError, refused_fields_are_user_errors, told_in_one_line
from mmwamim.models.targets import wavelet
from mmwamim.registry import MODELS
from tests.support.commands import ROOT


@told_in_one_line()
def script(error):
    raise error


def test_a_script_tells_a_user_error_in_one_line():
    with pytest.raises(SystemExit) as caught:
        script(UserError("data_root 'x' is not a folder"))
    assert caught.value.code == "error: data_root 'x' is not a folder"  # printed, exit code 1


def test_other_errors_keep_their_traceback_and_ours_is_an_exception():
    with pytest.raises(KeyError):
        script(KeyError('x'))
    assert issubclass(UserError, ValueError)  # caught by `except Exception`, unlike SystemExit


class Failing(Dataset):

    def __len__(self):
        return 4

    def __getitem__(self, index):
        raise NoImages('x.jpg is not there:\n  look for it')


def test_the_error_of_a_worker_has_its_own_words_alone():
    with pytest.raises(NoImages) as caught:
        list(DataLoader(Failing(), num_workers=1))
    assert str(caught.value) == 'x.jpg is not there:\n  look for it'


@pytest.mark.parametrize('part, message', [
    (dict(type='mmwamim.WaveletTargetGenerator', wavelet='harr'), 'harr'),
    (dict(type='mmwamim.NoSuchPart'), 'mmwamim.NoSuchPart is not in the')])
def test_a_wrong_value_in_a_config_is_one_line(part, message):
    @told_in_one_line()
    def build():
        MODELS.build(part)

    with pytest.raises(SystemExit) as caught:
        build()
    assert caught.value.code.startswith('error: ') and message in caught.value.code
    with pytest.raises(ValueError):  # the library itself raises an exception
        MODELS.build(dict(type='mmwamim.WaveletTargetGenerator', wavelet='harr'))
    with pytest.raises(ValueError):  # which was raised elsewhere, and may be a fault of ours
        script(ValueError('x'))


def test_no_function_of_the_library_ends_the_interpreter():
    for path in (ROOT / 'mmwamim').rglob('*.py'):
        if path.name != 'errors.py':  # the one place, for scripts
            # To catch what a config raises is not to end.
            assert not re.search(r'sys\.exit|raise SystemExit|SystemExit\(', path.read_text()), path


class Foreign:
    """As a part of another package, which checks by assertions, or not at all."""

    def __init__(self, fault):
        exec(compile(f'def check():\n    {fault}\ncheck()', '/another/package.py', 'exec'))


@pytest.mark.parametrize('fault, message', [
    ("assert False, 'wrong arch'", 'Foreign: wrong arch (given fault='),
    ('1 / 0', 'Foreign: ZeroDivisionError: division by zero (given fault='),
    ('[][3]', 'Foreign: IndexError: list index out of range'),
    ('None.x', "Foreign: AttributeError: 'NoneType' object has no attribute 'x'"),
    ("{}['arch']", 'Foreign: KeyError: arch'),
    ("raise RuntimeError('two\\n  lines')", 'Foreign: RuntimeError: two lines')])
def test_what_parts_of_others_raise_while_they_are_built_is_one_line(fault, message):
    with pytest.raises(SystemExit) as caught, told_in_one_line():
        MODELS.build(dict(type=Foreign, fault=fault))
    assert caught.value.code.startswith(f'error: {message}') and '\n' not in caught.value.code
    with pytest.raises(UserError, match='^Foreign: '), refused_fields_are_user_errors():
        MODELS.build(dict(type=Foreign, fault=fault))


def test_ctrl_c_is_a_word_and_no_traceback(capsys, monkeypatch):
    for starter, said in ((False, '\ninterrupted\n'), (True, '')):
        if starter:
            monkeypatch.setenv('EXIT_CODE_FILE', 'x')
        with pytest.raises(SystemExit) as caught, told_in_one_line():
            raise KeyboardInterrupt
        assert caught.value.code == 130 and capsys.readouterr().err == said


def test_a_fault_of_our_own_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(wavelet, 'APPROXIMATION', None)  # `in None` is a TypeError of our code
    with pytest.raises(TypeError), told_in_one_line():
        MODELS.build(dict(type='mmwamim.WaveletTargetGenerator'))


def test_the_nearest_name_of_a_part_is_said():
    with pytest.raises(SystemExit) as caught, told_in_one_line():
        MODELS.build(dict(type='mmpretrain.VisionTransformr'))
    assert caught.value.code.endswith("registry; did you mean 'mmpretrain.VisionTransformer'?")
    assert 'http' not in caught.value.code
