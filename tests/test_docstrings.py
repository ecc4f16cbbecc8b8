"""Every example of a docstring runs and gives what it says."""
import doctest
import importlib
from pathlib import Path

import pytest
import torch

import mmwamim

ROOT = Path(mmwamim.__file__).parent
FILES = [path for path in ROOT.rglob('*.py') if '>>>' in path.read_text()]
MODULES = sorted('.'.join(['mmwamim', *path.relative_to(ROOT).with_suffix('').parts])
                 for path in FILES)
# What people name in a config first.
SHOWN = ('WaMIM', 'MaskPlan', 'MaskedViT', 'SparseSwin', 'MultiLevelDecoder', 'MultiLevelMIMHead',
         'WaveletTargetGenerator', 'WaveletPacketTargetGenerator', 'PixelTargetGenerator',
         'HOGTargetGenerator', 'FourierTargetGenerator')


@pytest.mark.parametrize('name', MODULES)
def test_examples(name):
    torch.manual_seed(0)
    result = doctest.testmod(importlib.import_module(name), extraglobs={'torch': torch})
    assert result.failed == 0


def test_the_parts_of_a_config_have_examples():
    models = importlib.import_module('mmwamim.models')
    masking = importlib.import_module('mmwamim.models.masking')
    for name in SHOWN:
        part = getattr(models, name, None) or getattr(masking, name)
        assert '>>>' in part.__doc__, name
