"""The figures of the metafiles are those of the models."""
import pytest
import torch
import yaml
from mmengine.registry import MODELS, init_default_scope
from torch.utils.flop_counter import FlopCounterMode

from mmwamim.engine.config.reading import read_config
from tests.support.commands import ROOT

ENTRIES = [entry for path in yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
           for entry in yaml.safe_load((ROOT / path).read_text())['Models']]
FIRST = {entry['Metadata']['Parameters']: entry for entry in ENTRIES}  # one of each encoder


@pytest.mark.parametrize('entry', FIRST.values(), ids=lambda entry: entry['Config'])
def test_parameters_and_flops(entry):
    cfg = read_config(ROOT / entry['Config'])
    init_default_scope('mmpretrain')
    model = MODELS.build(cfg.model)
    assert entry['Metadata']['Parameters'] == sum(p.numel() for p in model.parameters())
    images = torch.rand(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter:
        if entry['Name'].startswith('wamim_'):
            model.loss(images, [])
        else:
            model.eval()(images, mode='tensor')
    assert entry['Metadata']['FLOPs'] == counter.get_total_flops() // 2  # multiply-adds


@pytest.mark.parametrize('entry', ENTRIES, ids=lambda entry: entry['Config'])
def test_epochs_and_batch(entry):
    cfg = read_config(ROOT / entry['Config'])
    assert entry['Metadata']['Epochs'] == cfg.train_cfg.max_epochs
    assert entry['Metadata']['Batch Size'] == 8 * cfg.train_dataloader.batch_size


def test_every_recipe_of_the_paper_and_of_fine_tuning_is_there():
    there = {entry['Config'] for entry in ENTRIES}
    recipes = [path for name in ('wamim/*0e.py', 'classification/vit_*0e.py',
                                      'classification/swin_*0e.py')
               for path in (ROOT / 'configs').glob(name)]
    assert there == {str(path.relative_to(ROOT)) for path in recipes}
    for entry in ENTRIES:  # one begins where the other has ended
        before = read_config(ROOT / entry['Config']).model.backbone.get('init_cfg')
        if before:
            stem = before.checkpoint.split('/')[1]
            assert f'configs/wamim/{stem}.py' in there and f'wamim-{stem[-4:]}-pre' in entry['Name']
