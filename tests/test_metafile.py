"""The figures of configs/wamim/metafile.yml are those of the models."""
import pytest
import torch
import yaml
from mmengine.registry import MODELS, init_default_scope
from torch.utils.flop_counter import FlopCounterMode

from mmwamim.engine.config.reading import read_config
from tests.support.commands import ROOT

ENTRIES = yaml.safe_load((ROOT / 'configs/wamim/metafile.yml').read_text())['Models']
FIRST = {entry['Metadata']['Parameters']: entry for entry in ENTRIES}  # one of each encoder


@pytest.mark.parametrize('entry', FIRST.values(), ids=lambda entry: entry['Config'])
def test_parameters_and_flops(entry):
    cfg = read_config(ROOT / entry['Config'])
    init_default_scope('mmpretrain')
    model = MODELS.build(cfg.model)
    assert entry['Metadata']['Parameters'] == sum(p.numel() for p in model.parameters())
    with FlopCounterMode(display=False) as counter:
        model.loss(torch.rand(1, 3, 224, 224), [])
    assert entry['Metadata']['FLOPs'] == counter.get_total_flops() // 2  # multiply-adds


@pytest.mark.parametrize('entry', ENTRIES, ids=lambda entry: entry['Config'])
def test_epochs_and_batch(entry):
    cfg = read_config(ROOT / entry['Config'])
    assert entry['Metadata']['Epochs'] == cfg.train_cfg.max_epochs
    assert entry['Metadata']['Batch Size'] == 8 * cfg.train_dataloader.batch_size
