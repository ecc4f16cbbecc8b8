"""Tables, shards and data sets as they come from elsewhere: the right result, or one line."""
import builtins
import gzip
import os
import re

import numpy as np
import pytest

from mmwamim.datasets.listing import NoImages
from mmwamim.datasets.sources import open_source
from mmwamim.datasets.sources.labels import describe_labels, settle_labels
from mmwamim.errors import UserError
from tests.commands.test_places import add_members
from tests.datasets.test_sources import (
    caches,  # noqa: F401
    entries,
    hugging_face,
    picture,
    write_files,
    write_lmdb,
)


def opened(place):
    """Grey levels, class numbers and classes."""
    source = open_source(str(place), '', True)
    found = [int(source.pixels(i)[0, 0, 0]) for i in range(len(source))]
    return found, source.labels.tolist(), source.classes


@pytest.mark.parametrize('text, encoding', [
    ('path;label\na/0.png;x\na/1.png;y\n', 'utf-8-sig'), ('path\tlabel\na/0.png\tx\na/1.png\ty\n',
                                                         'utf-8'),
    ('path,label\na/0.png,x\na/1.png,y\n', 'utf-16'),
    ('path, label\r\na/0.png, x\r\na/1.png, y\r\n', 'utf-8'),
    ('path,label\na\\0.png,x\na\\1.png,y\n', 'utf-8'),  # Windows
    ('path,label\n"a/0.png","x"\n"a/1.png","y"\n', 'utf-8')])
def test_tables_as_other_programs_write_them(tmp_path, text, encoding):
    write_files(tmp_path, [(f'a/{i}.png', '', picture(i)) for i in range(2)])
    (tmp_path / 'all.csv').write_bytes(text.encode(encoding))
    assert opened(tmp_path / 'all.csv') == ([0, 1], [0, 1], ('x', 'y'))


def test_absolute_and_relative_paths_in_one_table(tmp_path):
    write_files(tmp_path, [(f'a/{i}.png', '', picture(i)) for i in range(2)])
    (tmp_path / 'all.csv').write_text(f'path,label\na/0.png,x\n{tmp_path}/a/1.png,y\n')
    assert opened(tmp_path / 'all.csv') == ([0, 1], [0, 1], ('x', 'y'))


@pytest.mark.parametrize('labels, words', [
    (['99999999999'], 'the label 99999999999 would be one of'), (['x', '  '], '1 of 2 images have'),
    ([1., np.nan], '1 of 2 images have no label'), ([None, 'x'], '1 of 2 images have no label'),
    ([[1], [2]], 'a label is a list')])
def test_labels_that_are_none(labels, words):
    with pytest.raises(UserError, match=words):
        settle_labels(labels, None, 'here')


def test_a_table_that_names_no_paths_or_is_damaged(tmp_path):
    for text, words in (('path,label\na\0.png,x\n', '1 of 1 rows have no path'),
                        ('path,label\n"' + 'x' * 200000 + '",x\n', 'line 2: field larger')):
        (tmp_path / 'all.csv').write_text(text)
        with pytest.raises(UserError, match=words):
            opened(tmp_path / 'all.csv')


def test_null_in_json_is_no_label(tmp_path):
    add_members(tmp_path / 'x.tar', ('a/1.png', picture(1)), ('a/1.json', b'{"label": null}'),
                ('b/2.png', picture(2)), ('b/2.json', b'{"label": 7}'))
    assert opened(tmp_path / 'x.tar') == ([1, 2], [0, 1], ('a', 'b'))  # by folder


@pytest.mark.parametrize('size', [0, 200])
def test_a_parquet_file_that_was_cut_off(tmp_path, size):
    place = tmp_path / 'x.parquet'
    hugging_face(dict(train=entries('train')))['train'].to_parquet(place)
    place.write_bytes(place.read_bytes()[:size])
    with pytest.raises(NoImages, match='is no whole Parquet file'):
        opened(place)


def test_a_saved_set_that_was_cut_off(tmp_path):
    hugging_face(dict(train=entries('train')))['train'].save_to_disk(tmp_path / 'x')
    place = next((tmp_path / 'x').glob('*.arrow'))
    place.write_bytes(place.read_bytes()[:300])
    with pytest.raises(NoImages, match='cannot be opened as a Hugging Face data set.*Arrow'):
        opened(tmp_path / 'x')
    (tmp_path / 'x/state.json').write_text('{')
    with pytest.raises(NoImages, match='cannot be opened as a Hugging Face data set.*JSON'):
        opened(tmp_path / 'x')


@pytest.mark.parametrize('text', [
    b'\npath,label\na/0.png,x\n  \na/1.png,y\n\n',
    gzip.compress(b'path,label\na/0.png,x\na/1.png,y\n', mtime=0)])
def test_empty_lines_and_compressed_tables(tmp_path, text):
    write_files(tmp_path, [(f'a/{i}.png', '', picture(i)) for i in range(2)])
    for name in ('all.csv', 'all.csv.gz'):
        (tmp_path / name).write_bytes(text)
        assert opened(tmp_path / name) == ([0, 1], [0, 1], ('x', 'y'))
    (tmp_path / 'all.csv').write_bytes(gzip.compress(text)[:20])
    with pytest.raises(UserError, match='all.csv is damaged'):
        opened(tmp_path / 'all.csv')


def test_lists_of_other_encodings_and_with_tabs(tmp_path):
    write_files(tmp_path, [(f'a/{i} b.png', '', picture(i)) for i in range(2)])
    (tmp_path / 'all.txt').write_bytes('a/0 b.png\tx y\na/1 b.png\tz\n'.encode('utf-16'))
    assert opened(tmp_path / 'all.txt') == ([0, 1], [0, 1], ('x y', 'z'))
    (tmp_path / 'all.csv').write_bytes('path,label\na/0 b.png,käse\n'.encode('latin-1'))
    with pytest.raises(UserError, match='not written in UTF-8, as the class .*: save it as UTF-8'):
        opened(tmp_path / 'all.csv')


@pytest.mark.parametrize('paths, words', [
    (['a/0.png', 'https://example.org/1.jpg'], '1 of 2 rows are addresses, such as'),
    ([1, 2], "column 'path' holds 1, which is no path"), ([['a/0.png']], 'which is no path'),
    ([], 'has no rows')])
def test_columns_that_hold_no_paths(tmp_path, paths, words):
    write_files(tmp_path, [('a/0.png', '', picture(0))])
    parquet, arrow = pytest.importorskip('pyarrow.parquet'), pytest.importorskip('pyarrow')
    column = paths or arrow.array([], arrow.string())
    parquet.write_table(arrow.table(dict(path=column, label=[0] * len(paths))),
                        tmp_path / 'x.parquet')
    with pytest.raises(UserError, match=words):
        opened(tmp_path / 'x.parquet')


def test_samples_of_one_name_and_what_is_left_out_of_shards(tmp_path):
    add_members(tmp_path / 'x.tar', ('a/1.png', picture(1)), ('a/1.cls', b'x'),
                ('a/1.png', picture(2)), ('a/1.cls', b'y'), ('__MACOSX/a/3.png', picture(3)),
                ('./b/4.png', picture(4)), ('b/4.txt', b'words'), ('b/5', picture(5)),
                ('./b/4.cls', b'x'))
    assert opened(tmp_path / 'x.tar') == ([1, 2, 4], [0, 1, 0], ('x', 'y'))
    description = open_source(str(tmp_path / 'x.tar')).description
    assert 'left out: .txt 1, hidden 1, without ending 1' in description


def test_archives_and_formats_that_are_not_read_have_an_advice(tmp_path):
    write_files(tmp_path, [('a/0.png', '', picture(0)), ('a/more.zip', '', b'PK'),
                           ('a/1.HEIC', '', b'x'), ('a/2.npy', '', b'x')])
    description = open_source(str(tmp_path)).description
    assert 'unpack them, or name the folder that holds tar shards alone: .zip 1' in description
    assert 'convert them, say to JPEG or PNG: .heic 1' in description
    assert 'channels=N of a config, --channels N: .npy 1' in description
    with pytest.raises(NoImages, match='is an archive, which is not opened: unpack it'):
        open_source(str(tmp_path / 'a/more.zip'))


@pytest.mark.parametrize('name', ['list.txt', 'folder', 'base.lmdb', 'x.tar', 'x.tar.gz'])
def test_places_that_may_not_be_read_are_one_line(tmp_path, monkeypatch, name):
    place = tmp_path / name
    place.write_bytes(b'a/0.png\n') if '.t' in name else place.mkdir()

    def refuse(path, *more, **named):
        if str(path) == str(place):
            raise PermissionError(13, 'Permission denied', str(path))
        return real[os.scandir is refuse](path, *more, **named)

    real = {False: builtins.open, True: os.scandir}
    monkeypatch.setattr(*((builtins, 'open') if '.t' in name else (os, 'scandir')), refuse)
    with pytest.raises(NoImages, match=f'{name}. cannot be read: Permission denied'):
        open_source(str(place))


@pytest.mark.parametrize('given, classes, labels, words', [
    ([1, 3, 1], ('1', '2', '3'), [0, 2, 0], "no images of 1 of 3 classes: '2'"),  # names of folders
    (['1', '3'], ('1', '10', '3'), [0, 2], "no images of 1 of 3 classes: '10'"),
    (['0', '1'], ('cat', 'dog'), [0, 1], "numbers, taken as places in the list .*: 0 is 'cat'"),
    ([1, 2], None, [1, 2], "no images of 1 of 3 classes: '0'"),
    (['010', '001'], None, [1, 0], '^$')])
def test_numbers_that_are_names_and_numbers_that_are_places(given, classes, labels, words):
    found, names = settle_labels(given, classes, 'here')
    assert found.tolist() == labels
    assert re.search(words, describe_labels(found, names, given))
    if given == ['010', '001']:  # as folders of these names
        assert names == ('001', '010')


def test_a_folder_of_numbers_and_a_table_count_in_the_same_classes(tmp_path):
    write_files(tmp_path, [(f'train/{i}/0.png', '', picture(i)) for i in (1, 2, 10)])
    (tmp_path / 'val.csv').write_text('path,label\ntrain/2/0.png, 2\ntrain/10/0.png,10\n')
    train = open_source(str(tmp_path / 'train'), '', True)
    val = open_source(str(tmp_path / 'val.csv'), '', True, train.classes)
    assert [train.classes[label] for label in val.labels] == ['2', '10']


def test_what_a_table_has_is_said(tmp_path):
    write_files(tmp_path, [(f'{i}.png', '', picture(i)) for i in range(2)])
    place = tmp_path / 'all.csv'
    place.write_text('path,label\n0.png,cat \n1.png,cat\n0.png,dog\n')
    source = open_source(str(place), '', True)
    assert source.classes == ('cat', 'dog') and source.labels.tolist() == [0, 0, 1]
    assert '1 rows have the path of another row' in source.description
    place.write_text('0.png,cat\n1.png,dog\n')
    with pytest.raises(UserError, match="there are '0.png', 'cat', so that .* no header"):
        open_source(str(place))
    place.write_text('path,kind\n0.png,cat\n')
    with pytest.raises(UserError, match="no column 'sort': there are 'path', 'kind'"):
        open_source(str(place), '', True, label_column='sort')


def test_columns_of_parquet_are_found_in_any_case(tmp_path):
    arrow, parquet = pytest.importorskip('pyarrow'), pytest.importorskip('pyarrow.parquet')
    write_files(tmp_path, [(f'{i}.png', '', picture(i)) for i in range(2)])
    parquet.write_table(arrow.table({'Where': ['0.png', '1.png'], 'Kind': ['b', 'a'], 'n': [1, 2]}),
                        tmp_path / 'all.parquet')
    source = open_source(str(tmp_path / 'all.parquet'), '', True, column='where',
                         label_column='kind')
    assert source.labels.tolist() == [1, 0] and source.key(1) == str(tmp_path / '1.png')
    with pytest.raises(UserError, match="usual name .* 'Kind', 'n'; name one with column$"):
        open_source(str(tmp_path / 'all.parquet'))


def test_odd_shards(tmp_path):
    add_members(tmp_path / 'a.tar', ('1.PNG', picture(1)), ('1.JSON', b'{"Label": "cat"}'),
                ('2.png', picture(2)), ('2.CLS', b'dog'))
    assert opened(tmp_path / 'a.tar') == ([1, 2], [0, 1], ('cat', 'dog'))
    add_members(tmp_path / 'b.tar', ('1.png', picture(1)), ('1.cls', b'cat'), ('2.png', picture(2)))
    with pytest.raises(UserError, match='no labels: .*\n.*1 of 2 images have no stored class'):
        open_source(str(tmp_path / 'b.tar'), '', True)
    (tmp_path / 'c.tar').write_bytes(gzip.compress((tmp_path / 'a.tar').read_bytes()))
    with pytest.raises(NoImages, match='c.tar is compressed: name it .tar.gz'):
        open_source(str(tmp_path / 'c.tar'))


def test_a_hugging_face_data_set_as_it_is_downloaded(tmp_path):
    """``data/`` below a README, a folder a split, and paths in the place of images."""
    datasets = pytest.importorskip('datasets')
    sets = hugging_face(dict(train=entries('train'), test=entries('val')))
    for root, name in (('one', 'data/{}-00000-of-00001.parquet'), ('two', '{}/0000.parquet')):
        for split, rows in sets.items():
            path = tmp_path / root / name.format(split)
            path.parent.mkdir(parents=True, exist_ok=True)
            rows.to_parquet(path)
        (tmp_path / root / 'README.md').touch()
        assert len(open_source(str(tmp_path / root))) == 12
        val = open_source(str(tmp_path / root), 'val', True)
        assert val.labels.tolist() == [0, 0, 1, 1, 2, 2] and val.pixels(5)[0, 0, 0] == 121
    write_files(tmp_path / 'p', [(f'{i}.png', '', picture(i)) for i in range(2)])
    table = datasets.Dataset.from_dict(dict(image=[f'{tmp_path}/p/0.png', '1.png']))
    table.to_parquet(tmp_path / 'p/paths.parquet')
    table.save_to_disk(tmp_path / 'p/saved')
    saved = open_source(str(tmp_path / 'p/saved'))
    assert saved.pixels(0)[0, 0, 0] == 0
    with pytest.raises(UserError, match='/1: .*1.png: No such file'):
        saved.read(1)
    renamed = datasets.DatasetDict(Train=sets['train'], Test=sets['test'])
    renamed.save_to_disk(tmp_path / 'upper')
    assert len(open_source(str(tmp_path / 'upper'))) == 12
    assert len(open_source(str(tmp_path / 'upper'), 'val', True)) == 6
    datasets.DatasetDict(a=sets['train'], b=sets['test']).save_to_disk(tmp_path / 'ab')
    with pytest.raises(NoImages, match="no split 'train': there are 'a', 'b'"):
        open_source(str(tmp_path / 'ab'))


def test_data_bases_of_splits_are_pre_trained_on(tmp_path):
    for split in ('train', 'val'):
        write_lmdb(tmp_path, split, entries(split))
    source = open_source(str(tmp_path))
    assert len(source) == 12 and source.key(0) == f'{tmp_path}/train.lmdb/ant/0.png'
