"""mmwamim robustness on tiny sets and a tiny classifier."""
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from mmwamim.commands import robustness as robust
from mmwamim.commands.main import main
from mmwamim.evaluation import robustness as R
from tests.support.commands import ROOT
from tests.support.small_data import write_classes

WNIDS = ['n01440764', 'n01443537', 'n01484850', 'n01491361']
MEAN, STD = [120.0, 110.0, 100.0], [60.0, 55.0, 50.0]
CONFIG = f'''
model = dict(
    type='mmpretrain.ImageClassifier',
    backbone=dict(type='mmpretrain.VisionTransformer', img_size=32, patch_size=8,
                  arch=dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=16),
                  out_type='avg_featmap', final_norm=False),
    head=dict(type='mmpretrain.LinearClsHead', num_classes=4, in_channels=16))
data_preprocessor = dict(type='mmpretrain.ClsDataPreprocessor', num_classes=4, mean={MEAN},
                         std={STD}, to_rgb=True)
test_dataloader = dict(dataset=dict(type='mmpretrain.CustomDataset', pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=48, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=32),
    dict(type='PackInputs')]))
robustness = dict(imagenet_a='A', imagenet_r='nowhere')
'''


def score(words):
    main(['robustness', *words])


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """A config, its checkpoint and the four sets; -C with two images a folder."""
    folder = tmp_path_factory.mktemp('world')
    (folder / 'config.py').write_text(CONFIG)
    (folder / 'wnids.txt').write_text('\n'.join(WNIDS))
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(folder / 'config.py').model)
    for parameter in model.backbone.parameters():  # far from constant outputs
        torch.nn.init.normal_(parameter, std=0.5)
    torch.nn.init.normal_(model.head.fc.weight)
    torch.save(dict(state_dict=model.state_dict()), folder / 'model.pth')
    write_classes(folder / 'A', WNIDS[1:3], 8, 64, 1)
    write_classes(folder / 'R', [WNIDS[0], WNIDS[2], WNIDS[3]], 8, 64, 2)
    write_classes(folder / 'S', WNIDS, 8, 64, 3)
    for i, name in enumerate(R.CORRUPTIONS):
        for severity in R.SEVERITIES:
            write_classes(folder / 'C' / name / str(severity), WNIDS[::3], 4, 32, 10 * i + severity)
    return folder


def arguments(world, out, *extra):
    return [str(part) for part in (
        world / 'config.py', world / 'model.pth', '--wnids', world / 'wnids.txt', '--out', out,
        '--workers', 0, '--device', 'cpu', '--batch-size', 5, *extra)]


def expected_top1(world, folder, subset, resize):
    """The same accuracy from PIL and the bare model."""
    init_default_scope('mmpretrain')
    model = MODELS.build(Config.fromfile(world / 'config.py').model)
    model.load_state_dict(torch.load(world / 'model.pth', weights_only=True)['state_dict'])
    model.eval()
    classes = [i for i, wnid in enumerate(WNIDS) if (folder / wnid).is_dir() or not subset]
    hits = []
    for path in sorted(folder.glob('*/*.png')):
        image = Image.open(path)
        if resize:
            image = image.resize((48, 48), Image.BICUBIC).crop((8, 8, 40, 40))
        pixels = (torch.tensor(np.asarray(image)) - torch.tensor(MEAN)) / torch.tensor(STD)
        with torch.no_grad():
            logits = model(pixels.permute(2, 0, 1)[None].float(), mode='tensor')[0]
        hits.append(WNIDS[max(classes, key=lambda i: logits[i])] == path.parent.name)
    return 100 * np.mean(hits)


def all_sets(world):
    return [part for name, folder in zip(robust.DATA, 'ARSC')
            for part in ('--' + name.replace('_', '-'), world / folder)]


def test_every_set_against_the_bare_model(world, tmp_path, capsys):
    score(arguments(world, tmp_path, *all_sets(world)))
    text = capsys.readouterr().out
    content = json.loads((tmp_path / 'robustness.json').read_text())
    parts = content['parts']
    assert len(parts) == 78
    assert parts['imagenet_a']['classes'] == 2 and parts['imagenet_r']['images'] == 24
    for name, letter, subset in (('imagenet_a', 'A', True), ('imagenet_r', 'R', True),
                                 ('imagenet_sketch', 'S', False)):
        assert parts[name]['top1'] == expected_top1(world, world / letter, subset, True)
    # The subset matters in this example, and so does leaving 32 pixel images as they are.
    assert parts['imagenet_a']['top1'] != expected_top1(world, world / 'A', False, True)
    fog = world / 'C/fog'
    plain = [expected_top1(world, fog / str(s), False, False) for s in R.SEVERITIES]
    assert [parts[f'imagenet_c/fog/{s}']['top1'] for s in R.SEVERITIES] == plain
    assert len(set(plain)) > 1 and plain != [
        expected_top1(world, fog / str(s), False, True) for s in R.SEVERITIES]
    assert content['summary'] == json.loads(json.dumps(R.summarize(parts)))
    assert 'mCE' in text and 'average score' in text and 'PARTIAL' not in text
    assert 'part 78 of 78' in text and 'left' in text


def test_resume_computes_nothing_twice(world, tmp_path, capsys, monkeypatch):
    real, calls = robust.evaluate, []

    def interrupted(*given, **named):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*given, **named)

    command = arguments(world, tmp_path, *all_sets(world)[:4], '--imagenet-c', world / 'C')
    monkeypatch.setattr(robust, 'evaluate', interrupted)
    with pytest.raises(SystemExit, match='130'):
        score(command)
    assert len(json.loads((tmp_path / 'robustness.json').read_text())['parts']) == 3
    counted = []
    monkeypatch.setattr(robust, 'evaluate', lambda *a, **k: counted.append(1) or real(*a, **k))
    score(command)
    assert len(counted) == 77 - 3 and '3 of 77 parts were evaluated before' in (
        capsys.readouterr().out)
    before = (tmp_path / 'robustness.json').read_bytes()
    monkeypatch.setattr(robust, 'evaluate', None)
    score(command)
    assert (tmp_path / 'robustness.json').read_bytes() == before

    other = tmp_path / 'other.pth'
    state = torch.load(world / 'model.pth', weights_only=True)['state_dict']
    torch.save(dict(state_dict={name: value + 1 for name, value in state.items()}), other)
    command[1] = str(other)
    with pytest.raises(SystemExit, match='another checkpoint'):
        score(command)


def test_changed_images_are_evaluated_anew(world, tmp_path, capsys):
    write_classes(tmp_path / 'A', WNIDS[:2], 2, 64, 5)
    command = arguments(world, tmp_path / 'out', '--imagenet-a', tmp_path / 'A')
    score(command)
    Image.new('RGB', (64, 64), 'red').save(tmp_path / 'A' / WNIDS[0] / '9.png')
    score(command)
    assert '0 of 1 parts were evaluated before' in capsys.readouterr().out.split('wrote')[1]
    content = json.loads((tmp_path / 'out/robustness.json').read_text())
    assert content['parts']['imagenet_a']['images'] == 5


def test_partial_corruptions(world, tmp_path, capsys):
    few = tmp_path / 'C'
    few.mkdir()
    os.symlink(world / 'C/fog', few / 'fog')
    (few / 'snow').mkdir()
    os.symlink(world / 'C/snow/2', few / 'snow/2')
    command = arguments(world, tmp_path / 'out', *all_sets(world)[:6], '--imagenet-c', few)
    with pytest.raises(SystemExit, match='69 of the 75 folders .*gaussian_noise.1; --partial'):
        score(command)
    score([*command, '--partial'])
    text = capsys.readouterr().out
    assert 'PARTIAL, 1 of 15 corruptions: mCE' in text and 'average score' not in text
    summary = json.loads((tmp_path / 'out/robustness.json').read_text())['summary']
    assert summary['average_score'] is None and summary['imagenet_c']['partial']


def test_folders_of_unequal_size_are_refused(world, tmp_path, capsys):
    for name in R.CORRUPTIONS:
        (tmp_path / 'C' / name).mkdir(parents=True)
        for severity in R.SEVERITIES:
            os.symlink(world / 'C' / name / str(severity), tmp_path / 'C' / name / str(severity))
    (tmp_path / 'C/shot_noise/1').unlink()
    write_classes(tmp_path / 'C/shot_noise/1', WNIDS[:1], 1, 32, 0)
    command = arguments(world, tmp_path / 'out', '--imagenet-c', tmp_path / 'C')
    with pytest.raises(SystemExit, match='shot_noise/1 has 1 images, unlike the folders before'):
        score(command)
    score([*command, '--partial'])
    assert 'PARTIAL, 15 of 15 corruptions: mCE' in capsys.readouterr().out


def test_mistakes_are_named(world, tmp_path):
    with pytest.raises(SystemExit, match="there is no folder 'nowhere' .--imagenet-r"):
        score(arguments(world, tmp_path, '--imagenet-r', 'nowhere'))
    with pytest.raises(SystemExit, match='nothing to evaluate'):
        score(arguments(world, tmp_path))  # the config's folders are not here
    write_classes(tmp_path / 'A', [WNIDS[0], 'goldfish'], 1, 64, 5)
    with pytest.raises(SystemExit, match="folder 'goldfish' is not one of the 4 class ids"):
        score(arguments(world, tmp_path, '--imagenet-a', tmp_path / 'A'))
    with pytest.raises(SystemExit, match='has 4 outputs, but 1000 class ids'):
        score(arguments(world, tmp_path, '--imagenet-a', world / 'A', '--wnids', R.WNIDS))
    torch.save(dict(state_dict={}), tmp_path / 'empty.pth')
    command = arguments(world, tmp_path, '--imagenet-a', world / 'A')
    command[1] = str(tmp_path / 'empty.pth')
    with pytest.raises(SystemExit, match='does not fit the config: .* weights missing'):
        score(command)


def test_as_a_command_with_the_folders_of_the_config(world, tmp_path):
    """With worker processes; the config's folder A is relative to where the command runs."""
    command = [sys.executable, str(ROOT / 'tools/robustness.py'), *arguments(world, tmp_path)]
    done = subprocess.run([*command, '--workers', '1'], cwd=world, text=True, timeout=300,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stdout
    assert "skipping imagenet_r: there is no folder 'nowhere'" in done.stdout
    content = json.loads((tmp_path / 'robustness.json').read_text())
    assert content['parts']['imagenet_a']['top1'] == expected_top1(
        world, world / 'A', True, True)


def test_a_call_returns_the_scores_and_ends_no_interpreter(world, tmp_path):
    given = dict(wnids=world / 'wnids.txt', workers=0, device='cpu', out=tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder 'x' .imagenet_r"):
        robust.robustness(world / 'config.py', world / 'model.pth', imagenet_r='x', **given)
    found = robust.robustness(world / 'config.py', world / 'model.pth', imagenet_a=world / 'A',
                              **given)
    assert found.summary['top1'] == dict(imagenet_a=found.parts['imagenet_a']['top1'])
    assert found.parts == json.loads(found.file.read_text())['parts']


@pytest.mark.parametrize('name', ['vit_s', 'vit_b', 'swin_b'])
def test_configs_inherit_the_classifiers(name):
    cfg = Config.fromfile(ROOT / f'configs/robustness/{name}.py')
    assert set(cfg.robustness) == set(robust.DATA)
    assert cfg.model.type.endswith('ImageClassifier') and cfg.test_dataloader.dataset.pipeline
