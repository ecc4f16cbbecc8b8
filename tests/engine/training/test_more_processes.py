"""A run of one process goes on with two, in the middle of an epoch."""
import json
import os

import torch.distributed

from tests.support.processes import call_in_ranks
from tests.support.runs import PRETRAIN, record
from tests.support.small_data import make_images

OPTIONS = ['--epochs', 2, '--batch-size', 2]


def go_on(images, work, checkpoint):
    rank = os.environ['RANK']
    seen = record(PRETRAIN, images, work, *OPTIONS, '--resume', checkpoint, '--launcher', 'pytorch')
    (work / f'{rank}.json').write_text(json.dumps(dict(
        steps=seen.steps, files=seen.files, rates=seen.rates,
        weights=float(sum(p.double().abs().sum() for p in seen.runner.model.parameters())))))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_one_process_then_two(tmp_path):
    """8 images: 2 were seen in the first epoch, and the other 6 come once each, 4 a step."""
    images = make_images(tmp_path / 'images', 8, 80)
    first = record(PRETRAIN, images, tmp_path / 'one', *OPTIONS, stop_after=1)
    (tmp_path / 'two').mkdir()
    code, log = call_in_ranks(lambda: go_on(images, tmp_path / 'two',
                                            tmp_path / 'one/preempted.pth'))
    assert code == 0, log
    ours, theirs = (json.loads((tmp_path / f'two/{rank}.json').read_text()) for rank in (0, 1))
    # 2 of 8 images are half of a step of 4: the epoch goes on at step 1 of 2, behind 2 images.
    assert ours['steps'] == theirs['steps'] == [[0, 1, 1], [1, 0, 2], [1, 1, 3]]
    rest = ours['files'][0] + theirs['files'][0]
    assert len(set(rest)) == 4 and not set(rest) & set(first.files[0])
    second = sum(ours['files'][1:] + theirs['files'][1:], [])
    assert sorted(second) == sorted(path.name for path in images.iterdir())
    assert ours['rates'] == theirs['rates'] and ours['weights'] == theirs['weights']
    log = next((tmp_path / 'two').glob('*/*.log')).read_text()
    assert 'processes: 1 -> 2' in log and 'steps of an epoch: 4 -> 2' in log
    assert 'epoch 1 goes on at step 1 of 2, behind 2 images that were seen' in log
