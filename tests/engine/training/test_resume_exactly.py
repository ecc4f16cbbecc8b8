"""Every task stops when it is asked to, and ends as if it had not been, to the bit."""
import pytest
import torch

from mmwamim.engine.checkpoints import read_checkpoint
from tests.faults.kill_and_resume import same
from tests.support.runs import DETECT, FINETUNE, LINEAR, PRETRAIN, SEGMENT, STOCK, record
from tests.support.small_data import make_ade, make_classes, make_coco, make_images


@pytest.fixture(scope='module')
def classes(tmp_path_factory):
    return make_classes(tmp_path_factory.mktemp('classes'), classes=3, train=5)


def make_coco_semantic(root):
    """ADE20K's pictures and labels in the layout of the trial's data."""
    make_ade(root, 5)
    for old, new in (('images/training', 'train2017'), ('annotations/training',
                                                        'semantic/train2017')):
        (root / new).parent.mkdir(exist_ok=True)
        (root / old).rename(root / new)
    return root


def check(config, data, tmp_path, *options, stop_after, last, fields=()):
    """Trains with and without a stop; returns both records, of which the last parts agree."""
    whole = record(config, data, tmp_path / 'whole', *options, fields=fields)
    first = record(config, data, tmp_path / 'work', *options, fields=fields, stop_after=stop_after)
    rest = record(config, data, tmp_path / 'work', *options, '--resume', fields=fields)
    assert first.steps[-1][2] == stop_after - 1
    for name in ('steps', 'rates', 'files', 'inputs'):
        assert getattr(rest, name) == getattr(whole, name)[-len(rest.steps):], name
    assert same(tmp_path / 'whole' / last, tmp_path / 'work' / last) == []
    assert not (tmp_path / 'work/preempted.pth').exists()  # later checkpoints are there
    return whole, rest


@pytest.mark.parametrize('stop_after', [2, 5, 6])  # inside an epoch, and at the end of one
def test_fine_tuning(classes, tmp_path, stop_after):
    whole, rest = check(FINETUNE, classes, tmp_path, '--epochs', 4, '--batch-size', 5,
                        stop_after=stop_after, last='epoch_4.pth',
                        fields=['default_hooks.checkpoint.interval=1',
                                'default_hooks.checkpoint.max_keep_ckpts=4'])
    assert len(rest.steps) == len(whole.steps) - stop_after


@pytest.mark.parametrize('stop_after', [2, 5, 7])
def test_accumulated_gradients(tmp_path, stop_after):
    """14 steps of which 4 make an update: those since the last one are done again."""
    images = make_images(tmp_path / 'images', 28, 80)
    _, rest = check(PRETRAIN, images, tmp_path, '--epochs', 2, '--batch-size', 4,
                    stop_after=stop_after, last='epoch_2.pth',
                    fields=['optim_wrapper.accumulative_counts=4'])
    assert rest.steps[0][2] == stop_after // 4 * 4


def test_a_config_of_mmpretrain(classes, tmp_path):
    """Its loop, sampler, checkpoints and hooks: ours take their places."""
    check(FINETUNE, classes, tmp_path, '--epochs', 2, '--batch-size', 5, stop_after=4,
          last='epoch_2.pth', fields=STOCK)


def test_averaged_weights(classes, tmp_path):
    fields = ['custom_hooks.0.type=EMAHook', 'custom_hooks.0.momentum=0.1']
    check(FINETUNE, classes, tmp_path, '--epochs', 2, '--batch-size', 5, stop_after=4,
          last='epoch_2.pth', fields=fields)
    one, two = (read_checkpoint(tmp_path / name / 'epoch_2.pth')['ema_state_dict']
                for name in ('whole', 'work'))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_linear_probe(classes, tmp_path):
    check(LINEAR, classes, tmp_path, '--epochs', 2, '--batch-size', 5, stop_after=4,
          last='epoch_2.pth')


def test_detection(tmp_path):
    """Batches by aspect ratio, and a warm-up in steps beside decay in epochs."""
    pytest.importorskip('mmdet')
    data = make_coco(tmp_path / 'coco', 7)
    check(DETECT, data, tmp_path, '--epochs', 2, stop_after=6, last='epoch_2.pth')


@pytest.mark.parametrize('stop_after', [2, 5])
def test_segmentation(tmp_path, stop_after):
    pytest.importorskip('mmseg')
    data = make_coco_semantic(tmp_path / 'coco')
    check(SEGMENT, data, tmp_path, stop_after=stop_after, last='iter_7.pth')
