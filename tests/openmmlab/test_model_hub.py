"""mmpretrain's own list of models, with ours in it."""
import copy
import importlib
import sys

import pytest
import torch
import yaml
from mmpretrain.apis import ModelHub, get_model, list_models

import mmwamim
from mmwamim.errors import UserError
from mmwamim.openmmlab import hub
from mmwamim.openmmlab.late import after_import
from tests.support.commands import ROOT
from tests.test_metafile import ENTRIES, FIRST

NAMES = [entry['Name'] for entry in ENTRIES]
TINY = NAMES[0]
# Built here; that the others' configs can be built is a test of the metafile.
SMALL = [entry for entry in FIRST.values() if entry['Metadata']['Parameters'] < 3e7]


@pytest.fixture
def empty(monkeypatch):
    """A list in which neither mmpretrain's models are, which takes seconds, nor ours."""
    monkeypatch.setattr(ModelHub, '_ModelHub__mmpretrain_registered', True)
    monkeypatch.setattr(ModelHub, '_models_dict', {})


def test_all_names_are_listed_each_with_its_config(empty):
    assert list_models('wamim') == sorted(name for name in NAMES if name.startswith('wamim'))
    assert list_models('*wamim') == sorted(NAMES) and len(NAMES) == 13
    for entry in ENTRIES:
        found = ModelHub.get(entry['Name'])
        assert found.config.filename == str(ROOT / entry['Config'])
        assert found.in_collection == 'WaMIM'


@pytest.mark.parametrize('entry', SMALL, ids=lambda entry: entry['Name'])
def test_models_are_built_by_name(entry, empty):
    model = get_model(entry['Name'])
    assert sum(p.numel() for p in model.parameters()) == entry['Metadata']['Parameters']
    kind = 'WaMIM' if entry['Name'].startswith('wamim') else 'ImageClassifier'
    assert type(model).__name__ == kind and model.data_preprocessor.mean.shape == (3, 1, 1)


def test_fields_and_own_weights_go_in(empty, tmp_path):
    arch = dict(_delete_=True, embed_dims=32, num_layers=4, num_heads=2, feedforward_channels=64)
    small = dict(backbone=dict(arch=arch, out_indices=(0, 1, 2, 3)),
                 neck=dict(embed_dims=32, num_heads=2))
    one = get_model(TINY, **copy.deepcopy(small))  # MMEngine takes _delete_ out
    torch.save(dict(state_dict={f'backbone.{name}': value for name, value
                                in one.backbone.state_dict().items()}), tmp_path / 'encoder.pth')
    two = get_model(TINY, pretrained=str(tmp_path / 'encoder.pth'), **small)
    assert all(torch.equal(value, two.backbone.state_dict()[name])
               for name, value in one.backbone.state_dict().items())
    assert not torch.equal(one.neck.levels[0].embed.weight, two.neck.levels[0].embed.weight)


@pytest.mark.parametrize('name', [TINY, NAMES[-4]])
def test_weights_that_nobody_has_published_are_refused_in_one_line(name, empty):
    with pytest.raises(UserError, match=f"^no weights of '{name}' are published: give a file of "
                                        ".*pretrained='encoder.pth'.*mmwamim pretrain FOLDER"):
        get_model(name, pretrained=True)


def test_twice_is_no_conflict(empty):
    ModelHub.register_model_index(ROOT / 'configs/wamim/metafile.yml', config_prefix=ROOT)
    theirs = ModelHub._models_dict[TINY]
    importlib.reload(mmwamim)
    assert list_models('*wamim') == sorted(NAMES) and ModelHub._models_dict[TINY] is theirs
    hub.register_models(ModelHub)
    hub._join(sys.modules[hub.HUB])
    assert list_models('*wamim') == sorted(NAMES)
    own = vars(ModelHub)['_register_mmpretrain_models'].__func__
    assert not hasattr(own.__wrapped__, 'with_mmwamim')  # joined once


def test_a_hub_without_a_moment_of_its_own_gets_them_at_once(empty):
    class Other(ModelHub):
        _models_dict = {}
    module = type(sys)('other')
    module.ModelHub = Other
    hub._join(module)
    assert set(Other._models_dict) == set(NAMES)


def test_the_names_are_those_of_the_index():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert index['Import'] == ['configs/wamim/metafile.yml']
    assert all(name == name.lower() for name in NAMES)  # or mmpretrain would not find them


def test_after_import(tmp_path, monkeypatch):
    (tmp_path / 'late_trial.py').write_text('value = 1\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, 'meta_path', list(sys.meta_path))
    seen = []
    after_import('late_trial', lambda module: seen.append(('a', module.value)))
    assert seen == [] and 'late_trial' not in sys.modules
    module = importlib.import_module('late_trial')
    assert seen == [('a', 1)]
    after_import('late_trial', lambda module: seen.append(('b', module.value)))  # is there: at once
    assert seen[1:] == [('b', 1)]
    module.value = 2
    importlib.reload(module)  # in the place of the first, and again
    assert seen[2:] == [('b', 1)]
    after_import('late_trial_that_is_not_there', seen.append)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module('late_trial_that_is_not_there')
    del sys.modules['late_trial']
