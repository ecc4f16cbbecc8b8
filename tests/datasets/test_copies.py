"""Shards that cannot be read at any place, and so are copied once."""
import bz2
import gzip
import lzma
import os
import resource
import shutil
from importlib.util import find_spec

import pytest
from torch.utils.data import DataLoader

from mmwamim.datasets import ClassFolders, ResumableSampler, UnlabelledImages
from mmwamim.datasets.listing import NoImages
from mmwamim.datasets.sources import copies, open_source
from mmwamim.errors import UserError
from tests.datasets.test_sources import CLASSES, LOAD, caches, entries, greys, write_shards

assert caches  # a fixture, for every test here


def zstd(data):
    return pytest.importorskip('zstandard').ZstdCompressor().compress(data)


def pack(folder, compress, ending):
    for path in sorted(folder.glob('*.tar')):
        path.with_suffix(f'.tar{ending}').write_bytes(compress(path.read_bytes()))
        path.unlink()


@pytest.mark.parametrize('compress, ending', [
    (gzip.compress, '.gz'), (bz2.compress, '.bz2'), (lzma.compress, '.xz'), (zstd, '.zst')])
def test_compressed_shards_are_as_plain_ones(tmp_path, compress, ending, capsys):
    write_shards(tmp_path, 'train', entries('train'))
    pack(tmp_path, compress, ending)
    images = ClassFolders(str(tmp_path), 'train', pipeline=LOAD)
    assert greys(images) == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
    assert images.CLASSES == CLASSES and images.get_gt_labels().tolist() == [0] * 4 + [1] * 4 + [
        2] * 4
    assert images.data_list.source.key(7) == f'{tmp_path}/train-001.tar{ending}/000007.png'
    assert 'copying 3 shards, such as' in capsys.readouterr().err
    source = open_source(f'{tmp_path}/train-{{000..002}}.tar{ending}')
    assert len(source) == 12
    assert 'copying' not in capsys.readouterr().err  # the index and the copies are found again
    # Every image once, also with more workers than shards, and a resumed epoch goes on exactly.
    images = UnlabelledImages(str(tmp_path), pipeline=LOAD)
    sampler = ResumableSampler(images, seed=1)
    loader = DataLoader(images, 1, sampler=sampler, num_workers=4, collate_fn=lambda batch: [
        int(item['img'][0, 0, 0]) for item in batch])
    whole = sum(loader, [])
    assert sorted(whole) == greys(images)
    sampler.skip(7)
    assert sum(loader, []) == whole[7:]


def test_copies_that_went_or_are_outdated_are_made_again(tmp_path, capsys):
    write_shards(tmp_path, 'train', entries('train'), each=12)
    pack(tmp_path, gzip.compress, '.gz')
    open_source(str(tmp_path))
    shutil.rmtree(copies.copies_folder())
    assert open_source(str(tmp_path)).read(3) == entries('train')[3][2]
    assert capsys.readouterr().err.count('copying 1 shards') == 2
    write_shards(tmp_path, 'train', entries('train')[:5], each=12)
    pack(tmp_path, gzip.compress, '.gz')
    assert len(open_source(str(tmp_path))) == 5


def test_damage_is_named_by_shard_and_what_is_before_it_is_kept(tmp_path):
    rows = [(name, kind, data + os.urandom(50_000)) for name, kind, data in entries('train')]
    write_shards(tmp_path, 'train', rows, each=12)
    pack(tmp_path, gzip.compress, '.gz')
    path = tmp_path / 'train-000.tar.gz'
    path.write_bytes(path.read_bytes()[:-250_000])
    source = open_source(str(tmp_path))
    assert 5 <= len(source) < 12 and source.read(4) == rows[4][2]
    assert 'train-000.tar.gz is damaged: Compressed file ended' in source.description
    path.write_bytes(gzip.compress(b'no tar file'))
    with pytest.raises(NoImages, match='no image in 1 shards .*\n.*train-000.tar.gz is damaged'):
        open_source(str(tmp_path))


def test_shards_of_a_program(tmp_path):
    pytest.importorskip('webdataset')
    write_shards(tmp_path, 'train', entries('train'))
    images = ClassFolders(f'pipe:cat {tmp_path}/train-{{000..002}}.tar', '', pipeline=LOAD)
    assert greys(images) == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
    assert images.data_list.source.key(0) == f'pipe:cat {tmp_path}/train-000.tar/000000.png'
    with pytest.raises(NoImages, match="'pipe:cat .*none.tar' cannot be read"):
        open_source(f'pipe:cat {tmp_path}/none.tar')


def test_too_little_room_and_missing_libraries_are_one_line(tmp_path, monkeypatch):
    write_shards(tmp_path, 'train', entries('train'))
    pack(tmp_path, gzip.compress, '.gz')
    disk = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: disk._replace(free=10))
    with pytest.raises(UserError, match='3 compressed shards .* do not fit .*XDG_CACHE_HOME'):
        open_source(str(tmp_path))
    monkeypatch.undo()
    if find_spec('zstandard') is None:
        (tmp_path / 'other').mkdir()
        (tmp_path / 'other/x.tar.zst').write_bytes(b'\x28\xb5\x2f\xfd' + bytes(9))
        with pytest.raises(UserError, match='need zstandard, .*pip install zstandard'):
            open_source(str(tmp_path / 'other'))


@pytest.mark.parametrize('where', ['', 'stream:'])
def test_a_copy_that_was_cut_off_is_made_again(tmp_path, where):
    write_shards(tmp_path, 'train', entries('train'), each=12)
    pack(tmp_path, gzip.compress, '.gz')
    place = f'{where}{tmp_path}/train-000.tar.gz'
    open_source(place)
    copy, = copies.copies_folder().glob('*.tar')
    os.truncate(copy, 3000)  # as after a power failure
    assert open_source(place).read(11) == entries('train')[11][2]


def test_a_full_disk_is_no_damage_of_the_shard(tmp_path):
    """The images behind it would be lost without an error."""
    write_shards(tmp_path, 'train', [(name, kind, data + os.urandom(50_000)) for name, kind, data
                                     in entries('train')], each=12)
    pack(tmp_path, gzip.compress, '.gz')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(UserError, match='cannot be kept in .*File too large.*XDG_CACHE_HOME'):
            open_source(str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(copies.copies_folder().iterdir())
    assert len(open_source(str(tmp_path))) == 12


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    write_shards(tmp_path, 'train', entries('train'), each=12)
    pack(tmp_path, gzip.compress, '.gz')
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    with pytest.raises(UserError, match='Not a directory.: set XDG_CACHE_HOME to a folder'):
        open_source(str(tmp_path))
