import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mmwamim.engine import FeatureProbeHook
from mmwamim.engine.export.programs import load_encoder
from mmwamim.errors import UserError
from mmwamim.evaluation.features import LabelledImages, effective_rank, extract_features
from tests.support.commands import QUICK, ROOT, run_here
from tests.support.processes import train_in_ranks
from tests.support.runs import PRETRAIN, prepare


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for label, name in enumerate(('dark', 'light')):
            path = tmp_path / 'data' / split / name
            path.mkdir(parents=True)
            for number in range(6):
                pixels = rng.integers(0, 60, (72, 72, 3), dtype=np.uint8) + np.uint8(180 * label)
                Image.fromarray(pixels).save(path / f'{number}.png')
    return tmp_path / 'data'


def test_a_probed_run_learns_what_an_unprobed_one_learns(folder, tmp_path):
    """Two processes each; the encoders must not differ by a bit."""
    config = tmp_path / 'probed.py'
    plain = tmp_path / 'plain.py'
    base = f"_base_ = ['{ROOT / QUICK}']\n"
    plain.write_text(base)
    config.write_text(base + (
        "custom_hooks = [dict(type='mmwamim.RunSummaryHook'),"
        " dict(type='mmwamim.EncoderExportHook'),"
        f" dict(type='mmwamim.FeatureProbeHook', data_root='{folder}', interval=1),"
        f" dict(type='mmwamim.ReconstructionHook', data_root='{folder}', interval=2, most=3)]\n"))
    states = {}
    for path in (plain, config):
        work = tmp_path / path.stem
        code, log = train_in_ranks(path, '--data', folder, '--epochs', 2, '--batch-size', 3,
                                   '--work-dir', work)
        assert code == 0, log[-3000:]
        states[path.stem] = torch.load(work / 'encoder.pth', weights_only=True)['state_dict']
    assert log.count('Probe after epoch') == 2
    assert 'effective_rank' in log and 'knn_top1 100.00' in log
    pictures = {path.name: Image.open(path).size
                for path in (tmp_path / 'probed').rglob('vis_image/*.png')}
    assert set(pictures) == {'reconstruction_2.png', 'pyramid_2.png'}
    assert min(side for size in pictures.values() for side in size) > 400
    code, log = run_here('tools/analysis/plot_log.py', tmp_path / 'plain', tmp_path / 'probed',
                         '--out', tmp_path / 'curves.png')
    assert code == 0 and Image.open(tmp_path / 'curves.png').size[0] > 2000, log
    for name, value in states['plain'].items():
        assert torch.equal(states['probed'][name], value), name

    code, log = run_here('tools/knn.py', QUICK, tmp_path / 'plain/encoder.pth', '--data', folder,
                         '--k', 3, '--out', tmp_path / 'knn.json')
    assert code == 0 and '"knn_top1_k3": 100.0' in log, log
    code, log = run_here('tools/knn.py', QUICK, tmp_path / 'plain/encoder.pth', '--data',
                         folder / 'train' / 'nowhere')
    assert code != 0 and "nowhere' is not a folder" in log


def test_the_classes_are_those_of_the_training_split(folder):
    """A class missing in the validation set must not shift the labels of the others."""
    for path in (folder / 'val/dark').iterdir():
        path.unlink()
    (folder / 'val/dark').rmdir()
    (folder / 'val').rename(folder / 'Validation')
    (folder / 'train/.ipynb_checkpoints').mkdir()
    shutil.copy(folder / 'train/dark/0.png', folder / 'train/.ipynb_checkpoints')
    hook = FeatureProbeHook(str(folder))
    assert hook.classes == ('dark', 'light')
    assert (hook.train, hook.val) == (folder / 'train', folder / 'Validation')
    images = LabelledImages(str(hook.val), 32, most=2, classes=hook.classes)
    assert images.labels.tolist() == [1, 1] and images.classes == ('dark', 'light')
    assert images[0]['inputs'].float().mean() > 180
    (folder / 'Validation/grey').mkdir()
    shutil.copy(folder / 'train/dark/0.png', folder / 'Validation/grey')
    with pytest.raises(UserError, match="'grey'.* training set: 'dark', 'light'"):
        FeatureProbeHook(str(folder))


@pytest.mark.parametrize('average', [False, True])
def test_the_probed_encoder_is_that_of_the_checkpoints(folder, tmp_path, average):
    """The averaged one where there is an average: its rank is that of encoder.pth."""
    fields = ['custom_hooks.2.type=EMAHook', 'custom_hooks.2.momentum=0.01'] if average else []
    runner = prepare(PRETRAIN, folder, tmp_path / 'w', '--epochs', 1, '--batch-size', 3,
                     fields=[*fields, 'optim_wrapper.optimizer.lr=0.05'])
    hook = FeatureProbeHook(str(folder), interval=1, num_workers=0)
    runner.register_hook(hook)
    runner.train()
    said = runner.message_hub.get_scalar('probe/effective_rank').current()
    images = LabelledImages(str(folder / 'train'), 64)
    encoder = load_encoder(tmp_path / 'w/encoder.pth')

    def rank(encoder):
        return effective_rank(extract_features(encoder, runner.model.data_preprocessor, images)[0])

    trained = rank(runner.model.backbone)
    assert said == pytest.approx(rank(encoder), rel=1e-4)
    assert (said == pytest.approx(trained, rel=1e-4)) != average


def test_a_damaged_image_does_not_end_a_probe(folder):
    (folder / 'train/dark/2.png').write_bytes(b'nothing')
    images = LabelledImages(str(folder / 'train'), 32)
    assert images.labels.tolist() == [0] * 6 + [1] * 6
    assert torch.equal(images[2]['inputs'], images[3]['inputs'])


def test_bad_fields_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="'nowhere' is not a folder"):
        FeatureProbeHook('nowhere')
    with pytest.raises(ValueError, match='interval must be at least 1'):
        FeatureProbeHook(str(tmp_path), interval=0)
