"""Shards of which a few copies are kept at a time."""
import fcntl
import gzip
import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mmwamim.datasets import ClassFolders, ResumableSampler, UnlabelledImages
from mmwamim.datasets.kept import locked
from mmwamim.datasets.sampling import order_of
from mmwamim.datasets.sources import copies, open_source, stream
from mmwamim.errors import UserError
from tests.datasets.test_copies import pack
from tests.datasets.test_sources import CLASSES, LOAD, caches, entries, greys, write_shards

assert caches  # a fixture, for every test here


@pytest.fixture
def shards(tmp_path):
    """Twelve compressed shards of one image."""
    write_shards(tmp_path / 'set', 'train', entries('train'), each=1)
    pack(tmp_path / 'set', gzip.compress, '.gz')
    return tmp_path / 'set'


def kept_copies():
    return list(copies.copies_folder().glob('*.tar'))


def levels(batch):
    return [int(item['img'][0, 0, 0]) for item in batch]


@pytest.mark.parametrize('buffer', [1, 3, 50])
def test_an_order_over_shards_has_the_images_of_its_buffer_at_every_point(buffer):
    shard_of = np.repeat(np.arange(20), 50)
    order = order_of(1000, 3, 1, True, shard_of, buffer)
    assert sorted(order.tolist()) == list(range(1000))
    assert torch.equal(order, order_of(1000, 3, 1, True, shard_of, buffer))
    assert not torch.equal(order, order_of(1000, 3, 2, True, shard_of, buffer))
    found = [len(set(shard_of[order[i:i + 50]])) for i in range(0, 1000, 50)]
    if buffer == 1:
        assert max(found) == 1  # one shard after the other, each shuffled
        assert any(np.diff(order[:50].numpy()) < 0)
    elif buffer == 3:
        assert 3 <= min(found) and max(found) <= 5
        counts = Counter(shard_of[order[300:350]].tolist()).most_common(3)
        assert all(8 <= count <= 26 for _, count in counts)  # about as many of each
    else:
        assert min(found) > 10


def test_every_image_once_exact_resume_and_few_copies(shards, capsys):
    images = UnlabelledImages(f'stream:2:{shards}', pipeline=LOAD)
    assert len(images) == 12 and 'the images of 2 shards are mixed' in images.description
    assert 'reading 12 shards once for an index' in capsys.readouterr().err
    assert len(kept_copies()) == 6  # twice the buffer and two
    sampler = ResumableSampler(images, seed=1)
    loader = DataLoader(images, 1, sampler=sampler, num_workers=2, collate_fn=levels)
    epochs = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        epochs.append(sum(loader, []))
        assert len(kept_copies()) <= 6
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(g for g in greys(images))
    assert epochs[0] != epochs[1]
    sampler.skip(7)
    assert sum(loader, []) == epochs[1][7:]
    UnlabelledImages(f'stream:2:{shards}', pipeline=LOAD)
    assert 'reading' not in capsys.readouterr().err  # the index is found again


def test_there_is_room_before_a_copy_is_there(shards, monkeypatch):
    source = open_source(f'stream:1:{shards}')  # four copies at a time
    there = []
    replace = os.replace
    monkeypatch.setattr(copies.os, 'replace', lambda *paths: (replace(*paths), there.append(
        len(kept_copies())), time.sleep(.01)))

    def fetch(shard):
        with suppress(FileNotFoundError):  # removed again at once: it is made again when it is read
            source._fetch(shard)

    with ThreadPoolExecutor(6) as pool:  # as workers and their threads do
        list(pool.map(fetch, range(12)))
    assert len(there) >= 8 and max(there) == 4 == len(kept_copies())


def test_a_copy_that_is_removed_as_it_is_looked_at_is_made_again(shards, monkeypatch):
    source, utime, removed = open_source(f'stream:1:{shards}'), os.utime, []
    shard = next(number for number, path in enumerate(source.files) if os.path.exists(path))

    def remove_first(path, *more):
        if not removed and str(path) == source.files[shard]:
            removed.append(os.unlink(path))
        utime(path, *more)

    monkeypatch.setattr(stream.os, 'utime', remove_first)
    assert source.read(shard) == entries('train')[shard][2] and removed


def test_what_an_ended_process_was_writing_goes(shards):
    source = open_source(f'stream:1:{shards}')
    abandoned, written = (copies.copies_folder() / f'{"ab" * 16}.{pid}' for pid in (11, 12))
    for path in (abandoned, written):
        path.write_bytes(b'half')
    os.utime(abandoned, (time.time() - 2 * copies.ABANDONED, ) * 2)
    for shard in range(12):
        source._fetch(shard)
    assert not abandoned.exists() and written.exists()


def test_ranks_take_different_images_of_the_same_shards(shards, monkeypatch):
    images, parts = UnlabelledImages(f'stream:3:{shards}', pipeline=LOAD), []
    for rank in range(2):
        monkeypatch.setattr('mmwamim.datasets.sampling.get_dist_info', lambda rank=rank: (rank, 2))
        parts.append([draw.index for draw in ResumableSampler(images, seed=1)])
    assert sorted(parts[0] + parts[1]) == list(range(12))


def test_labels_and_parts_that_are_held_out(shards):
    train, val = (ClassFolders(f'stream:{shards}', pipeline=LOAD, held_out=.25, takes=part)
                  for part in ('rest', 'held_out'))
    assert train.CLASSES == CLASSES and (len(train), len(val)) == (9, 3)
    assert [grey // 10 for grey in greys(train)] == train.get_gt_labels().tolist()
    order = [draw.index for draw in ResumableSampler(train, seed=1)]
    assert sorted(order) == list(range(9))


def test_the_next_shard_is_fetched_while_one_is_read(shards):
    source = open_source(f'stream:1:{shards}')
    for path in kept_copies():
        path.unlink()
    started = []
    source._fetch_quietly = started.append
    source.begin_epoch(1, 0)
    first, second = stream.shard_order(12, 1, 0)[:2].tolist()
    assert source.read(first) == entries('train')[first][2]
    assert started == [second]


def test_shards_that_are_read_in_place_are_never_removed(tmp_path):
    write_shards(tmp_path, 'train', entries('train'), each=1)
    images = UnlabelledImages(f'stream:1:{tmp_path}', pipeline=LOAD)
    assert len(set(greys(images))) == 12 and len(list(tmp_path.glob('*.tar'))) == 12
    copies.trim([str(path) for path in tmp_path.glob('*.tar')], 1)
    assert len(list(tmp_path.glob('*.tar'))) == 12 and not kept_copies()


def test_a_shard_that_changes_or_goes_during_a_run_is_named(shards, monkeypatch):
    waited = []
    monkeypatch.setattr(stream.time, 'sleep', waited.append)
    source = open_source(f'stream:1:{shards}')
    for path in kept_copies():
        path.unlink()
    path = shards / 'train-003.tar.gz'
    path.write_bytes(gzip.compress(b'other'))
    os.utime(path, (1, 1))
    with pytest.raises(UserError, match="train-003.tar.gz' is not what it was"):
        source.read(3)
    path.unlink()
    with pytest.raises(UserError, match="train-003.tar.gz' cannot be copied any more: .*No such"):
        source.read(3)
    assert waited == list(stream.WAITS)


@pytest.mark.parametrize('where', ['stream:', 'stream:0:x.tar'])
def test_what_is_no_stream(where):
    with pytest.raises(UserError, match='expected stream:SHARDS'):
        open_source(where)


def test_a_worker_that_is_forked_meanwhile_keeps_no_lock(tmp_path):
    with locked(tmp_path / 'a.tar'):
        child = os.fork()
        if not child:
            time.sleep(20)
            os._exit(0)
    with open(tmp_path / 'a..lock') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where the child has it
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
