"""What the benchmark of the data path measures and prints."""
import sys
import tarfile

import pytest

from mmwamim.benchmarks import loader
from mmwamim.errors import UserError
from tests.support.commands import run
from tests.support.small_data import make_sizes


@pytest.fixture
def folder(tmp_path):
    root = make_sizes(tmp_path / 'from')
    return root


def test_every_path_is_printed(folder):
    code, log = run(sys.executable, '-W', 'ignore', 'tools/benchmark/loader.py', folder, '--images',
                    4, '--rounds', 1)
    assert code == 0, log
    assert log.count('images/s (') == 8 and "mmpretrain's default" in log
    assert '1 workers: first batch after ' in log and ' MiB\n' in log


def test_other_places_are_read_on_our_paths_alone(folder):
    with tarfile.open(folder / 'x.tar', 'w') as shard:
        shard.add(folder / 'a/wide.jpg', 'wide.jpg')
    only = dict(images=1, rounds=2, workers=0)
    found = loader.measure(folder / 'x.tar', paths=['ours', "mmpretrain's default"], **only)
    assert 'in 1 tar shards of' in found.description and found.first_batch is None
    assert list(found.rates) == ['ours'] and len(found.rates['ours']) == 2
    assert min(found.rates['ours']) > 0
    with pytest.raises(UserError, match='mmpretrain reads files alone'):
        loader.measure(folder / 'x.tar', paths=["mmpretrain's default"], **only)
