"""resize, corruptions and robustness on every kind of place; what is written is a folder of
classes, and nothing is written elsewhere."""
import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from mmwamim.commands import corruptions as corrupting
from mmwamim.commands.resize import resize
from mmwamim.datasets import ClassFolders
from mmwamim.datasets.paths import PackedPaths
from mmwamim.datasets.sources import ListedSource
from mmwamim.datasets.sources.file_names import file_names
from mmwamim.errors import UserError
from mmwamim.evaluation import robustness as scores
from mmwamim.evaluation.robustness_sets import Pictures, images_of_parts, list_images
from tests.datasets.test_sources import (
    CLASSES,
    DAMAGED,
    LOAD,
    WRITERS,
    caches,  # noqa: F401
    entries,
    greys,
    picture,
    write_folder,
    write_parquet_paths,
)
from tests.support.small_data import write_classes


def write_splits(root, write, change=lambda rows: rows):
    for split in ('train', 'val'):
        write(root, split, change(entries(split)))
    return root


def files_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file()}


def add_members(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, 'w') as file:
        for name, data in rows:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize('write', WRITERS)
def test_resize_makes_a_folder_of_classes_of_any_place(tmp_path, write):
    def damage(rows):
        return [(*row[:2], DAMAGED) if row[0] == 'bee/2.png' else row for row in rows]
    root, target = write_splits(tmp_path / 'set', write, damage), tmp_path / 'out'
    made = resize(root, target, short=4, workers=1)
    files = {path for split in ('train', 'val') if (target / split).is_dir()
             for path in (target / split).rglob('*') if path.is_file()}
    if write.__name__ == 'write_text':  # its pictures lie below the folder: they are what is found
        files = set(target.rglob('*.jpg'))
        target = target / 'files'
    if write.__name__ in ('write_csv', 'write_parquet_paths'):
        files = set(target.rglob('*.jpg'))
        target = target / 'files'
    assert made.images == 18 and len(files) == 17 and len(made.unreadable) == 1
    names = ['0', '1', '2'] if write is write_parquet_paths and target.name == 'out' else CLASSES
    for split, wanted in (('train', [0, 1, 2, 3, 10, 11, 13, 20, 21, 22, 23]),
                          ('val', [100, 101, 110, 111, 120, 121])):
        data = ClassFolders(str(target), split, pipeline=LOAD)
        found = greys(data)
        assert np.abs(np.subtract(sorted(found), wanted)).max() <= 1
        assert data.CLASSES == tuple(names)
        assert data.get_gt_labels().tolist() == [grey % 100 // 10 for grey in found]
    before = {path: path.stat().st_mtime_ns for path in files}
    missing = sorted(files)[3]
    missing.unlink()
    resize(root, tmp_path / 'out', short=4, workers=1)
    assert [path for path, time in before.items() if path.stat().st_mtime_ns != time] == [missing]


@pytest.mark.parametrize('write', [one for one in WRITERS if 'folder' not in one.__name__])
def test_one_place_alone_and_its_corruptions(tmp_path, write, monkeypatch):
    pytest.importorskip('imagecorruptions')
    monkeypatch.setattr(corrupting, 'corrupt', lambda image, *settings: image)
    write(tmp_path / 'set', 'val', entries('val'))
    kinds = ('*.txt', '*.csv', '*.parquet', '*.tar', '*.lmdb', 'val')
    place = next(path for kind in kinds for path in sorted((tmp_path / 'set').glob(kind)))
    place = tmp_path / 'set/val-{000..001}.tar' if place.suffix == '.tar' else place
    names = ('0', '1', '2') if write is write_parquet_paths else CLASSES
    resize(place, tmp_path / 'out', workers=1)
    found = ClassFolders(str(tmp_path / 'out'), pipeline=LOAD)
    assert found.CLASSES == names and len(found) == 6
    made = corrupting.corruptions(place, tmp_path / 'C', per_class=1, size=32)
    assert (made.images, made.written) == (3, 3 * 75)
    assert corrupting.corruptions(place, tmp_path / 'C', per_class=1, size=32).written == 0
    for part in ('fog/3', 'snow/5'):
        some = ClassFolders(str(tmp_path / 'C' / part), pipeline=LOAD)
        assert some.CLASSES == names
        assert np.abs(np.subtract(greys(some), [100, 110, 120])).max() <= 1


def test_names_that_lead_out_are_hidden_too_long_or_there_twice(tmp_path):
    keys = ['../up.png', '/abs.png', 'a/../../b.png', '.hidden.png', 'x' * 300 + '.png', 'é/ü.png',
            'a\\b.png', 'cat/1.png', 'dog/1.png', 'cat-1.png', 'n\n.png', '..', 'a/1.png',
            'a/1.jpg', 'a/1', 'v.1', '\udcff.png']
    places = PackedPaths.from_strings(keys)
    for source in (ListedSource(places, ''), ListedSource(places, '', [0] * len(keys), ['cat']),
                   ListedSource(places, '', [0] * len(keys), ['../../out'])):
        names = file_names(source, lambda name: f'{name}.jpg')
        assert len(set(names)) == len(keys)
        for name in names:
            path = tmp_path / 'out' / name
            assert path.resolve().is_relative_to(tmp_path / 'out') and '\n' not in name
            assert not any(part.startswith('.') for part in path.relative_to(tmp_path).parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b'')
        assert all(len(name.split('/')) == 2 for name in names if source.labels is not None)
        some = [5, 3, 0, 14]  # the same, whatever else there is
        few = ListedSource(PackedPaths.from_strings([keys[i] for i in some]), '', None if
                           source.labels is None else [0] * 4, source.classes)
        assert file_names(few, lambda name: f'{name}.jpg') == [names[i] for i in some]
    stems = file_names(ListedSource(PackedPaths.from_strings(['a.png', 'a.jpg', 'a.png']), ''),
                       lambda name: name.partition('.')[0])
    assert len(set(stems)) == 3


def test_nothing_is_written_outside(tmp_path):
    rows = [('../../evil.png', picture(1)), ('/tmp/abs.png', picture(2)), ('b/1.png', picture(3)),
            ('b/1.png', picture(4))]  # a member that is there twice
    add_members(tmp_path / 'x/in.tar', *rows)
    made = resize(tmp_path / 'x/in.tar', tmp_path / 'deep/er/out', workers=1)
    written = list((tmp_path / 'deep/er/out').rglob('*.jpg'))
    assert made.images == 4 and len(written) == 4
    assert not [path for path in tmp_path.rglob('*.jpg') if path not in written]
    found = sorted(int(np.asarray(Image.open(path))[0, 0, 0]) for path in written)
    assert found == [1, 2, 3, 4]


def test_shards_of_no_split_beside_others_are_an_error(tmp_path):
    for name in ('train-0', 'val-0', 'extra'):
        add_members(tmp_path / f'{name}.tar', ('a/1.png', picture(1)))
    with pytest.raises(UserError, match="shards of the splits train, val.*none: 'extra.tar'"):
        resize(tmp_path, tmp_path / 'out', workers=1)
    assert not (tmp_path / 'out').exists()


def test_a_table_with_a_column_of_splits_becomes_splits(tmp_path):
    write_folder(tmp_path, 'x', entries('train')[:3])
    (tmp_path / 'all.csv').write_text('path,kind,split\nx/ant/0.png,a,train\nx/ant/1.png,b,train\n'
                                      'x/ant/2.png,b,validation\n')
    resize(tmp_path / 'all.csv', tmp_path / 'out', workers=1, label_column='kind')
    assert files_below(tmp_path / 'out') == {'train/a/x-ant-0.png.jpg', 'train/b/x-ant-1.png.jpg',
                                             'validation/b/x-ant-2.png.jpg'}
    resize(tmp_path / 'all.csv', tmp_path / 'plain', workers=1)  # no labels that are known
    assert files_below(tmp_path / 'plain') == {
        'train/x/ant/0.png.jpg', 'train/x/ant/1.png.jpg', 'validation/x/ant/2.png.jpg'}
    with pytest.raises(UserError, match="no column 'nothing'"):
        resize(tmp_path / 'all.csv', tmp_path / 'no', workers=1, label_column='nothing')


@pytest.mark.parametrize('write', [one for one in WRITERS if one is not write_parquet_paths])
def test_robustness_finds_the_same_images_and_labels(tmp_path, write):
    known = ['cow', 'bee', 'ant', 'dog']
    write(tmp_path / 'A', 'test', [row for row in entries('val') if row[1] != 'bee'])
    kinds = ('*.txt', '*.csv', '*.parquet', '*.tar', '*.lmdb', 'test')
    place = next(path for kind in kinds for path in sorted((tmp_path / 'A').glob(kind)))
    part = scores.Part('imagenet_a', str(place), True, False)
    listing = list_images(part, known)
    assert listing.classes == [2, 0] and listing.digest == list_images(part, known).digest
    pictures = Pictures(listing, LOAD, False)
    found = [pictures[i] for i in range(len(pictures))]
    assert [int(one['img'][0, 0, 0]) for one in found] == [100, 101, 120, 121]
    assert listing.labels == [2, 2, 0, 0] == [one['gt_label'] for one in found]


def test_imagenet_c_in_shards_is_that_of_the_folders(tmp_path):
    wnids = ['n01440764', 'n01443537']
    for severity in (1, 2):
        write_classes(tmp_path / f'C/fog/{severity}', wnids, 2, 8, severity)
    files = sorted((tmp_path / 'C').rglob('*.png'))
    add_members(tmp_path / 'T/weather.tar', *[
        (str(path.relative_to(tmp_path / 'C')), path.read_bytes()) for path in files])
    whole = images_of_parts(str(tmp_path / 'T'))
    assert images_of_parts(str(tmp_path / 'C')) is None
    there = [scores.find_parts(dict(imagenet_c=str(tmp_path / place)), True, parts)
             for place, parts in (('C', None), ('T', whole))]
    assert [[part.name for part in parts] for parts in there] == [
        ['imagenet_c/fog/1', 'imagenet_c/fog/2']] * 2
    for one, other in zip(*there):
        one, other = (Pictures(list_images(part, wnids), LOAD, True) for part in (one, other))
        assert one.listing.labels == other.listing.labels == [0, 0, 1, 1]
        assert all(np.array_equal(one[i]['img'], other[i]['img']) for i in range(4))
    with pytest.raises(UserError, match='73 of the 75 folders of ImageNet-C'):
        scores.find_parts(dict(imagenet_c=str(tmp_path / 'T')), False, whole)
    add_members(tmp_path / 'U/x.tar', ('a/1.png', picture(1)))
    with pytest.raises(UserError, match='no image has a name of ImageNet-C'):
        images_of_parts(str(tmp_path / 'U'))
