"""What the quick start compares: pictures, the labelled ones among them, and their jitter."""
import sys

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from PIL import Image
from sklearn.datasets import load_digits

from mmwamim.commands.quickstart import config_path, own_command, write_digits
from mmwamim.engine.config.reading import read_config
from mmwamim.evaluation import few_labels
from mmwamim.evaluation.few_labels import choose, jitter
from tests.support.commands import run


def test_pictures_are_the_digits_and_splits_share_no_writer(tmp_path):
    splits = write_digits(tmp_path)
    assert [len(splits[name][1]) for name in ('train', 'test')] == [1197, 600]
    assert all(len(list((tmp_path / name).iterdir())) == len(splits[name][1]) for name in splits)
    counts = load_digits()
    for name, first in (('test', 0), ('train', 600)):
        pictures, digits = splits[name]
        assert torch.equal(digits, torch.from_numpy(counts.target[first:first + len(digits)]))
        # averaged down again, a picture is what it was made from
        small = pictures[7, 0].float().view(8, 8, 8, 8).mean((1, 3)) * 16 / 255
        assert np.abs(small.numpy() - counts.images[first + 7]).max() < 4
        stored = np.array(Image.open(tmp_path / name / '0007.png'))
        assert np.array_equal(stored.transpose(2, 0, 1), pictures[7])


def test_labelled_pictures_are_as_many_of_each_class_and_others_for_another_seed():
    labels = torch.arange(100) % 10
    chosen = choose(labels, 3, seed=0)
    assert torch.equal(labels[chosen].bincount(), torch.full((10, ), 3))
    assert len(set(chosen.tolist())) == 30
    assert set(chosen.tolist()) != set(choose(labels, 3, seed=1).tolist())


def test_a_jitter_leaves_the_middle_where_it_is_on_average():
    image = torch.zeros(1, 1, 33, 33)
    image[..., 14:19, 14:19] = 1
    moved = jitter(image.expand(400, -1, -1, -1), torch.Generator().manual_seed(0))
    mass = moved.mean((0, 1))
    places = torch.arange(33.) - 16
    assert abs((mass.sum(0) @ places) / mass.sum()) < 0.3
    assert abs((mass.sum(1) @ places) / mass.sum()) < 0.3
    assert moved.flatten(1).std(0).max() > 0.1


def test_the_next_command_is_that_of_the_environment_which_lies_here(tmp_path, monkeypatch):
    folder = tmp_path / '.venv/bin'
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.executable', str(folder / 'python'))
    assert own_command() == f'{folder}/python -m mmwamim'
    (folder / 'mmwamim').touch()
    assert own_command() == '.venv/bin/mmwamim'  # as `make quickstart` has it
    monkeypatch.chdir('/')
    assert own_command() == f'{str(folder)[1:]}/mmwamim'


@pytest.mark.parametrize('forks', [True, False])
def test_scores_of_forked_processes_are_those_of_this_one(tmp_path, capsys, monkeypatch, forks):
    assert few_labels._can_fork() or torch.cuda.is_available()
    if not forks:
        monkeypatch.setattr(few_labels, '_can_fork', lambda: False)
    splits = write_digits(tmp_path)
    splits['test'] = tuple(part[:40] for part in splits['test'])
    cfg = read_config(config_path())
    cfg.model.backbone.arch = dict(embed_dims=32, num_layers=2, num_heads=2,
                                   feedforward_channels=64)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        encoder = MODELS.build({**cfg.model.backbone, 'out_indices': (0, 1)})
        preprocessor = MODELS.build(cfg.data_preprocessor)
    path = tmp_path / 'encoder.pth'
    torch.save(dict(state_dict={f'backbone.{n}': v for n, v in encoder.state_dict().items()}), path)
    result = few_labels.compare_few_labels(cfg, path, splits, per_class=2, steps=3, seeds=2)
    ready = {name: (preprocessor(dict(inputs=pictures, data_samples=None))['inputs'], labels)
             for name, (pictures, labels) in splits.items()}
    for start, weights in (('checkpoint', path), ('scratch', None)):
        scores = [few_labels._score(cfg, ready, 2, 3, weights, seed) for seed in range(2)]
        for way, accuracies in result['runs'][start].items():
            assert accuracies == [one[way] for one in scores]
    assert capsys.readouterr().out.count('from checkpoint') == 2
    assert result['checkpoint']['linear probe']['mean'] > 10


def test_a_process_whose_forks_cannot_train_is_told_apart():
    """The first backward after fake tensors of a GPU starts threads for its gradients."""
    code = f"""
import torch
from mmwamim.evaluation.few_labels import _can_fork
assert _can_fork() is {not torch.cuda.is_available()}
from torch._subclasses import FakeTensorMode
with FakeTensorMode():
    torch.ones(3, device='cuda')
torch.ones(1, requires_grad=True).sum().backward()
assert _can_fork() is False
"""
    code, log = run(sys.executable, '-W', 'ignore', '-c', code)
    assert code == 0, log
