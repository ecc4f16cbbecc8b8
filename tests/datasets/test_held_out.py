"""A validation split of our own: which images, and when there is to be one."""
import hashlib
import shutil

import numpy as np
import pytest

from mmwamim.datasets import ClassFolders
from mmwamim.datasets.held_out import describe, rows_of, without_validation
from mmwamim.errors import UserError
from tests.datasets.test_sources import (
    LOAD,
    WRITERS,
    caches,  # noqa: F401
    greys,
    picture,
    write_csv,
    write_folder,
    write_lmdb,
    write_parquet_images,
    write_parquet_paths,
    write_saved,
    write_shards,
    write_text,
)
from tests.support.small_data import make_classes, make_images


def slow_rows(labels, keys, share):
    """The images held out, a class at a time."""
    chosen = []
    for label in sorted(set(labels)):
        members = [place for place, other in enumerate(labels) if other == label]
        members.sort(key=lambda place: hashlib.blake2b(keys[place].encode(),
                                                       digest_size=8).digest())
        number = round(len(members) * share) or 1
        chosen += members[:number if number < len(members) else len(members) - 1]
    return sorted(chosen)


@pytest.mark.parametrize('share', [0.2, 0.05, 0.9])
def test_of_each_class_its_share_whatever_the_order(share):
    keys = [f'{name}/ü{number}.jpg' for name, count in (('a', 50), ('b', 7), ('c', 2), ('d', 1))
            for number in range(count)]
    labels = [ord(key[0]) - ord('a') for key in keys]
    held_out, rest = (rows_of(labels, keys, share, part) for part in ('held_out', 'rest'))
    assert held_out.tolist() == slow_rows(labels, keys, share)
    assert sorted([*held_out, *rest]) == list(range(60)) and list(rest) == sorted(rest)
    counts = np.bincount(np.array(labels)[held_out], minlength=4)
    assert counts.tolist() == [round(50 * share), max(round(7 * share), 1), 1, 0]
    order = np.random.default_rng(0).permutation(60)
    moved = rows_of([labels[i] for i in order], [keys[i] for i in order], share, 'held_out')
    assert {keys[order[i]] for i in moved} == {keys[i] for i in held_out}


def test_more_images_move_few():
    keys = [f'a/{number}.jpg' for number in range(1000)]
    before = {keys[i] for i in rows_of([0] * 1000, keys, 0.2, 'held_out')}
    more = [*keys, *(f'a/new{number}.jpg' for number in range(100))]
    after = {more[i] for i in rows_of([0] * 1100, more, 0.2, 'held_out')}
    assert len(before) == 200 and len(after) == 220 and len(before - after) < 40


@pytest.mark.parametrize('given, message', [
    (([0, 1], ['a', 'b'], 0.2, 'held_out'), 'no class has two images'),
    (([], [], 0.2, 'held_out'), 'no class has two images'),
    (([0, 0], ['a', 'b'], 1., 'rest'), 'held_out must be a share between 0 and 1, not 1.0'),
    (([0, 0], ['a', 'b'], '20%', 'rest'), 'held_out must be a share'),
    (([0, 0], ['a', 'b'], 0.2, 'train'), "takes must be one of rest, held_out, not 'train'")])
def test_mistakes(given, message):
    with pytest.raises(UserError, match=message):
        rows_of(*given)


def test_data_sets_are_parts_of_one_wherever_it_lies(tmp_path):
    root = make_classes(tmp_path / 'one', 2, 10, 2)
    shutil.copytree(root / 'train', tmp_path / 'two/pets')
    names = {}
    for where, prefix in ((root, 'train'), (tmp_path / 'two/pets', '')):
        for takes in ('rest', 'held_out'):
            data = ClassFolders(str(where), prefix, held_out=0.2, takes=takes)
            paths = [data.get_data_info(place)['img_path'] for place in range(len(data))]
            assert data.get_gt_labels().tolist() == [int('class1' in path) for path in paths]
            assert data.CLASSES == ('class0', 'class1')
            names.setdefault(takes, []).append(sorted(path[-14:] for path in paths))
            assert f'{len(paths)} of them, ' in data.description
    assert all(first == second for first, second in names.values())
    assert [len(found[0]) for found in names.values()] == [16, 4]
    assert not set(names['rest'][0]) & set(names['held_out'][0])


def test_where_there_is_nothing_to_validate_with(tmp_path):
    both = make_classes(tmp_path / 'both', 2, 2, 2)
    assert without_validation(both) is None
    assert without_validation(both / 'train') == '' and without_validation(tmp_path / 'no') is None
    shutil.rmtree(both / 'val')
    assert without_validation(both) == 'train'
    assert f'20% of each class of {both}/train are held out' in describe(both, 'train')
    make_images(both / 'test', 2)  # without labels
    assert without_validation(both) == 'train'
    assert without_validation(make_images(tmp_path / 'flat', 2)) is None  # no classes at all
    make_classes(tmp_path / 'tested', 2, 2, 2)
    (tmp_path / 'tested/val').rename(tmp_path / 'tested/test')
    assert without_validation(tmp_path / 'tested') is None


def test_classes_with_the_names_of_splits(tmp_path):
    for name in ('bus', 'train'):
        make_images(tmp_path / 'vehicles' / name, 3)
    assert without_validation(tmp_path / 'vehicles') == ''
    make_images(tmp_path / 'vehicles/test', 3)
    with pytest.raises(UserError, match="beside them 'test', which may be a class or a split"):
        without_validation(tmp_path / 'vehicles')


@pytest.mark.parametrize('write', WRITERS)
def test_every_kind_of_place_is_parted_class_by_class(tmp_path, write):
    rows = [(f'{kind}/{i}.png', kind, picture(40 * label + i))
            for label, (kind, count) in enumerate((('ant', 10), ('bee', 15), ('cow', 5)))
            for i in range(count)]
    write(tmp_path / 'set', 'train', rows)
    prefix = without_validation(tmp_path / 'set')
    assert prefix == ('' if write is write_shards else 'train') or write in (
        write_parquet_images, write_text, write_csv, write_parquet_paths)
    place = tmp_path / 'set'
    if write in (write_text, write_csv, write_parquet_paths):  # its files are a folder, otherwise
        place = next(path for path in place.iterdir() if path.is_file())
        assert without_validation(place) == (prefix := '')
    parts = {takes: [ClassFolders(str(place), prefix, pipeline=LOAD, held_out=0.2, takes=takes)
                     for _ in range(2)] for takes in ('rest', 'held_out')}
    found = {takes: greys(one) for takes, (one, _) in parts.items()}
    assert {takes: greys(again) for takes, (_, again) in parts.items()} == found
    assert sorted(found['rest'] + found['held_out']) == sorted(
        40 * label + i for label, count in enumerate((10, 15, 5)) for i in range(count))
    counts = np.bincount(parts['held_out'][0].get_gt_labels(), minlength=3)
    assert counts.tolist() == [2, 3, 1]
    for takes, (one, _) in parts.items():
        assert one.get_gt_labels().tolist() == [grey // 40 for grey in found[takes]]
    source = parts['rest'][0].data_list.source
    names = [source.name(i) for i in range(len(source))]
    assert len(set(names)) == 30  # what decides is the name alone
    held_out = {names[i] for i in slow_rows(source.labels.tolist(), names, 0.2)}
    rows = [part.data_list.rows for part in (parts['held_out'][0], parts['rest'][0])]
    assert {names[i] for i in rows[0]} == held_out and not set(rows[0]) & set(rows[1])
    write(tmp_path / 'set', 'val', rows=[('ant/90.png', 'ant', picture(9))])
    if write in (write_folder, write_shards, write_lmdb, write_saved, write_parquet_images):
        assert without_validation(tmp_path / 'set') is None
