"""Paths in one buffer, and the listings that are kept: against plain lists and a plain walk."""
import multiprocessing
import os
import random
import tempfile
import tracemalloc

import pytest
import torch

from mmwamim.datasets import ClassFolders, UnlabelledImages, kept, listing, walk
from mmwamim.datasets.listing import list_images
from mmwamim.datasets.paths import PackedPaths, Spool
from mmwamim.datasets.sampling import ResumableSampler, order_of

from .test_listing import touch

ODD = ['a', 'ä/ö.jpg', os.fsdecode(b'caf\xe9.jpg'), 'a b/c', '日本/x', 'a/b/c/d', '\uffff',
       '\U0001f431']


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own, for listings of any age."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(listing, 'SETTLED', -60.)  # clocks may differ
    return tmp_path / 'cache'


@pytest.fixture
def scans(monkeypatch):
    """The folders that are opened."""
    opened, scan = [], os.scandir

    def noted(path):
        opened.extend([str(path)] if 'cache' not in str(path) else [])
        return scan(path)

    monkeypatch.setattr(os, 'scandir', noted)
    return opened


def test_packed_paths_are_a_list():
    paths = PackedPaths.from_strings(ODD)
    assert paths == ODD and list(paths) == ODD and paths[1:4] == ODD[1:4] and paths[-1] == ODD[-1]
    assert paths != ODD[::-1] and len(paths) == len(ODD) and 'a b/c' in paths
    assert paths.slashes().tolist() == [path.count('/') for path in ODD]
    for place in (len(ODD), -len(ODD) - 1):
        with pytest.raises(IndexError):
            paths[place]
    assert paths.rows([slice(4, 6), slice(0, 2)]) == ODD[4:6] + ODD[:2]
    assert paths.rows([slice(0, 2), slice(2, 8)]) is paths
    assert PackedPaths.from_strings([]) == [] and len(PackedPaths.from_bytes([])) == 0
    assert paths.data.nbytes + paths.ends.nbytes == sum(
        len(path.encode('utf-8', 'surrogatepass')) + 1 + 8 for path in ODD)


def test_the_end_of_a_folder():
    paths = sorted(['a.jpg', 'a/1', 'a/2/3', 'a-b/1', 'a b/1', 'a0/1', 'b'])
    packed = PackedPaths.from_strings(paths)
    for place, path in enumerate(paths):
        same = [i for i, other in enumerate(paths)
                if '/' in path and other.startswith(path.split('/')[0] + '/')]
        assert packed.end_of_folder(place) == (max(same) if same else place) + 1


def test_the_order_is_that_of_sorted_paths(tmp_path):
    """Names that sort before and behind the slash, files between folders."""
    draw = random.Random(0)
    names = ['a', 'a-b', 'a.x', 'a b', 'ab', 'A', 'b', '0', 'ä', os.fsdecode(b'\xe9')]
    made = {f'{draw.choice(names)}.png' for _ in range(20)}
    made |= {'/'.join(draw.choices(names, k=draw.randint(1, 3))) + f'/{draw.choice(names)}.png'
             for _ in range(200)}
    touch(tmp_path, *made)
    assert list_images(tmp_path).paths == sorted(made)


def test_a_kept_listing_is_the_same_and_opens_no_folder(tmp_path, cache, scans):
    root = touch(tmp_path / 'x', 'a/1.jpg', 'a/2.PNG', 'b/3.jpg', 'b/no.txt', '.hidden/4.jpg')
    (root / 'gone.jpg').symlink_to(root / 'nowhere')
    first = list_images(root)
    assert len(scans) == 3
    again = list_images(root)
    assert len(scans) == 3 and again == first and again.describe() == first.describe()
    assert list_images(root, ['.png']).paths == ['a/2.PNG'] and len(scans) == 6  # another listing
    with_labels = ClassFolders(str(root))
    assert with_labels.get_gt_labels().tolist() == [0, 0, 1]


@pytest.mark.parametrize('change', [
    lambda root: touch(root, 'a/b/new.jpg'), lambda root: (root / 'a/b/1.jpg').unlink(),
    lambda root: (root / 'a/b/1.jpg').rename(root / 'a/b/2.jpg'),
    lambda root: touch(root, 'c/d.jpg'), lambda root: touch(root, 'nowhere.jpg'),
    lambda root: (root / 'far').unlink(),
    lambda root: touch(root.parent / 'elsewhere', 'new.jpg')])
def test_any_change_is_noticed(tmp_path, cache, change):
    root = touch(tmp_path / 'x', 'a/b/1.jpg', 'a/2.jpg')
    (root / 'far').symlink_to(touch(tmp_path / 'elsewhere', 'z.jpg'))
    (root / 'gone.jpg').symlink_to(root / 'nowhere.jpg')
    before = list_images(root).paths
    change(root)
    after = list_images(root)
    assert after.paths != before
    plain = sorted(os.path.relpath(os.path.join(folder, name), root)
                   for folder, _, names in os.walk(root, followlinks=True) for name in names
                   if os.path.isfile(os.path.join(folder, name)))
    assert after.paths == plain


def test_a_listing_of_what_has_just_changed_is_not_kept(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(listing, 'SETTLED', 60.)
    list_images(touch(tmp_path / 'x', 'a.jpg'))
    assert not list(cache.rglob('*.pt'))


def test_a_damaged_or_unwritable_cache_is_done_without(tmp_path, cache, scans, capsys):
    root = touch(tmp_path / 'x', 'a.jpg')
    list_images(root)
    file, = cache.rglob('*.pt')
    file.write_bytes(file.read_bytes()[:100])
    assert list_images(root).paths == ['a.jpg'] and len(scans) == 2
    for one in cache.rglob('*.*'):
        one.unlink()
    cache.joinpath('mmwamim/indexes').rmdir()
    cache.joinpath('mmwamim/indexes').touch()  # a file where the folder should be
    assert list_images(root).paths == ['a.jpg']
    assert 'cannot be kept in' in capsys.readouterr().err


def test_the_first_process_lists_and_others_wait(tmp_path, cache):
    root = touch(tmp_path / 'x', 'a.jpg')
    with kept.kept('x') as file:
        assert file.load() is None and file.save(dict(a=torch.arange(3), b=['c']))
    with kept.kept('x') as file:
        assert file.load()['a'].tolist() == [0, 1, 2]
    opened = torch.zeros(2, dtype=torch.int64).share_memory_()

    def work(number):
        scan = os.scandir
        os.scandir = lambda path: opened[number].add_(1) and scan(path)
        assert list_images(root).paths == ['a.jpg']

    processes = [multiprocessing.get_context('fork').Process(target=work, args=(number, ))
                 for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(opened.tolist()) == [0, 1]


def test_a_data_set_holds_no_python_object_for_an_image(tmp_path):
    root = touch(tmp_path, *(f'{kind}/{i}.jpg' for kind in 'ab' for i in range(50)))
    images = UnlabelledImages(str(root))
    assert isinstance(images.data_list.source.keys, PackedPaths)
    for part, rows in ((7, range(7)), (-7, range(93, 100)), ([5, 99, 5], [5, 99, 5])):
        some = ClassFolders(str(root), indices=part)
        assert [some.get_data_info(i)['img_path'] for i in range(len(some))] == [
            images.get_data_info(i)['img_path'] for i in rows]
        assert some.get_gt_labels().tolist() == [int(i >= 50) for i in rows]
    half = images.get_subset(10)
    assert len(half) == 10 and half.get_data_info(-1)['sample_idx'] == 9
    with pytest.raises(IndexError):
        images.get_data_info(100)


def test_the_sampler_hands_out_large_orders_in_parts():
    images = range((1 << 16) * 2 + 5)
    drawn = [draw.index for draw in ResumableSampler(images, seed=3)]
    assert drawn == order_of(len(images), 3, 0).tolist()


def test_system_folders_are_named_as_before():
    assert walk.is_system_folder('.git') and walk.is_system_folder('__MACOSX')
    assert not walk.is_system_folder('trash')


def test_paths_that_wait_are_not_in_memory():
    """A peak of a fraction of the text, and the order of the paths."""
    draw = random.Random(1)
    folders = [f'{i:03}/' for i in range(200)]
    draw.shuffle(folders)
    tracemalloc.start()
    spool = Spool()
    for folder in folders:
        names = [f'{folder}{i:04}{"x" * 200}' for i in range(200)]
        spool.add(names[0], '\0'.join(names).encode())
    paths = spool.packed()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(paths) == 40_000 and paths.data.nbytes > 8_000_000
    assert peak < 2_000_000  # 8 bytes for each, and a folder
    assert paths[0].startswith('000/0000x') and paths[-1].startswith('199/0199x')
    assert [paths[i][:8] for i in range(399, 401)] == ['001/0199', '002/0000']


def test_what_was_not_used_for_long_is_removed(tmp_path, cache):
    root = touch(tmp_path / 'x', 'a.jpg')
    list_images(root)
    first, = [path for path in cache.rglob('*.pt')]
    os.utime(first, (0, 0))
    list_images(root)  # in use: kept
    list_images(touch(tmp_path / 'y', 'a.jpg'))
    assert first.is_file()
    os.utime(first, (0, 0))
    list_images(touch(tmp_path / 'z', 'a.jpg'))
    assert not first.is_file() and len(list(cache.rglob('*.pt'))) == 2


def test_a_small_folder_is_listed_once(tmp_path, cache, scans):
    root = touch(tmp_path / 'x', 'a.jpg', 'b/c.jpg')
    for _ in range(3):
        assert list_images(root).paths == ['a.jpg', 'b/c.jpg']
    assert len(scans) == 2


@pytest.mark.parametrize('content', [dict(other=1), [1]])
def test_an_index_of_other_content_is_made_again(tmp_path, cache, content):
    list_images(touch(tmp_path / 'x', 'a.png'))
    file, = cache.rglob('*.pt')
    torch.save(content, file)
    assert list_images(tmp_path / 'x').paths == ['a.png']


def test_a_user_without_home_gets_no_folder_named_tilde(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.setattr(os.path, 'expanduser', lambda path: path)
    assert kept.cache_folder().is_relative_to(tempfile.gettempdir())
    monkeypatch.setenv('XDG_CACHE_HOME', 'here')
    assert kept.cache_folder() == tmp_path / 'here/mmwamim/indexes'
