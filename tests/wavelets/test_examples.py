"""The examples of docs/wavelets.md and of the docstrings of mmwamim.wavelets."""
import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import torch

from mmwamim import wavelets

PAGE = Path(__file__).parents[2] / 'docs/wavelets.md'


def test_examples_of_the_page_cover_every_function():
    text = PAGE.read_text().replace('```python', '').replace('```', '')
    missing = [name for name in wavelets.__all__ if not re.search(rf'wavelets\.{name}\b', text)]
    assert not missing
    runner = doctest.DocTestRunner()
    runner.run(doctest.DocTestParser().get_doctest(text, {}, PAGE.name, PAGE.name, 0))
    assert runner.failures == 0 and runner.tries > len(wavelets.__all__)


def test_examples_of_the_docstrings():
    tried = 0
    for module in pkgutil.iter_modules(wavelets.__path__, wavelets.__name__ + '.'):
        result = doctest.testmod(importlib.import_module(module.name), extraglobs={'torch': torch})
        assert result.failed == 0, module.name
        tried += result.attempted
    assert tried > len(wavelets.__all__)
