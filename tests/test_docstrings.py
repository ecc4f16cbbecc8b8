"""Every example of a docstring runs and gives what it says."""
import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest
import torch

import mmwamim
from mmwamim.registry import HOOKS
from tests.support.small_data import make_classes, make_images

ROOT = Path(mmwamim.__file__).parent
FILES = [path for path in ROOT.rglob('*.py') if '>>>' in path.read_text()]
MODULES = sorted('.'.join(['mmwamim', *path.relative_to(ROOT).with_suffix('').parts])
                 for path in FILES)
PAGE = ROOT.parent / 'docs/api.md'
SHOWN = [name for name in re.findall(r'^::: (\S+)$', PAGE.read_text(), re.MULTILINE)
         if name not in ('mmwamim.errors', 'mmwamim.environment')]  # modules


@pytest.mark.parametrize('name', MODULES)
def test_examples(name):
    torch.manual_seed(0)
    result = doctest.testmod(importlib.import_module(name), extraglobs={'torch': torch})
    assert result.failed == 0


@pytest.mark.parametrize('name', SHOWN)
def test_what_the_api_page_shows_says_all_that_a_caller_must_know(name):
    module, part = name.rsplit('.', 1)
    part = getattr(importlib.import_module(module), part)
    text = inspect.getdoc(part)
    assert 'Examples:\n    >>> ' in text
    if 'Args and errors are those of' in text:
        return
    for one in inspect.signature(part).parameters:
        assert re.search(rf'^ +\**(\w+, \**)*{one}(, \**\w+)*( \(.+\))?:', text, re.MULTILINE), one
    if inspect.isfunction(part) and part.__annotations__['return'] is not None:
        assert 'Returns:' in text
    if 'Examples:' in text:
        assert text.index('Examples:') > max(map(text.find, ('Args:', 'Returns:', 'Raises:')))


@pytest.mark.parametrize('name', [name for name in SHOWN if name.endswith('Hook')])
def test_a_hooks_example_is_one_that_a_config_takes(name, tmp_path, monkeypatch):
    make_classes(tmp_path / 'data/pets')
    make_images(tmp_path / 'data/photos', 2)
    monkeypatch.chdir(tmp_path)
    module, part = name.rsplit('.', 1)
    text = getattr(importlib.import_module(module), part).__doc__
    given = {}
    for example in doctest.DocTestParser().get_examples(text):
        if '_hooks =' in example.source:
            exec(example.source, given)
    hooks = [*given.get('custom_hooks', []), *given.get('default_hooks', {}).values()]
    assert [hook['type'] for hook in hooks] == [f'mmwamim.{part}']
    assert type(HOOKS.build(hooks[0])).__name__ == part
