"""Every kind of place with the same small pictures: labels, damage, splits, resuming."""
import csv
import io
import json
import os
import pickle
import tarfile
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from mmwamim.datasets import ClassFolders, ResumableSampler, UnlabelledImages
from mmwamim.datasets.listing import NoImages
from mmwamim.datasets.loading import UnreadableImage
from mmwamim.datasets.sources import kind_of_place, open_source
from mmwamim.datasets.sources.shards import expand_braces
from mmwamim.datasets.unreadable import TooManyUnreadable
from mmwamim.errors import UserError

LOAD = [dict(type='mmwamim.LoadImage')]
CLASSES = ('ant', 'bee', 'cow')
DAMAGED = b'\xff\xd8\xff no picture'


def picture(grey):
    file = io.BytesIO()
    Image.new('RGB', (8, 6), (grey, ) * 3).save(file, 'PNG')
    return file.getvalue()


def entries(split):
    """(name, class, bytes) of each image; the grey level tells which it is."""
    first, each = (0, 4) if split == 'train' else (100, 2)
    return [(f'{kind}/{i}.png', kind, picture(first + 10 * label + i))
            for label, kind in enumerate(CLASSES) for i in range(each)]


def write_files(root, rows):
    for name, _, data in rows:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def write_folder(root, split, rows):
    write_files(root / split, rows)


def write_text(root, split, rows):
    write_files(root / 'files', [(f'{split}/{name}', kind, data) for name, kind, data in rows])
    (root / f'{split}.txt').write_text(''.join(f'files/{split}/{name} {kind}\n'
                                               for name, kind, _ in rows))


def write_csv(root, split, rows):
    write_files(root / 'files', [(f'{split}/{name}', kind, data) for name, kind, data in rows])
    with open(root / f'{split}.csv', 'w', newline='') as file:
        csv.writer(file).writerows([('id', 'Filename', 'label')] + [
            (i, f'files/{split}/{name}', kind) for i, (name, kind, _) in enumerate(rows)])


def write_parquet_paths(root, split, rows):
    parquet, arrow = pytest.importorskip('pyarrow.parquet'), pytest.importorskip('pyarrow')
    write_files(root / 'files', [(f'{split}/{name}', kind, data) for name, kind, data in rows])
    parquet.write_table(arrow.table(dict(
        path=[f'files/{split}/{name}' for name, _, _ in rows], size=[1] * len(rows),
        label=[CLASSES.index(kind) for _, kind, _ in rows])), root / f'{split}.parquet')


def write_shards(root, split, rows, each=5):
    root.mkdir(exist_ok=True)
    for shard in range(0, len(rows), each):
        with tarfile.open(root / f'{split}-{shard // each:03}.tar', 'w') as file:
            for number, (_, kind, data) in enumerate(rows[shard:shard + each], start=shard):
                for ending, content in (('png', data), ('cls', kind.encode()), ('txt', b'words')):
                    member = tarfile.TarInfo(f'{number:06}.{ending}')
                    member.size = len(content)
                    file.addfile(member, io.BytesIO(content))


def write_lmdb(root, split, rows):
    lmdb = pytest.importorskip('lmdb')
    root.mkdir(exist_ok=True)
    with lmdb.open(str(root / f'{split}.lmdb'), map_size=1 << 20) as environment:
        with environment.begin(write=True) as transaction:
            for name, _, data in rows:
                transaction.put(name.encode(), data)


def features(datasets):
    return datasets.Features(dict(image=datasets.Image(), label=datasets.ClassLabel(
        names=list(CLASSES))))


def hugging_face(split_rows):
    datasets = pytest.importorskip('datasets')
    return datasets.DatasetDict({
        split: datasets.Dataset.from_dict(
            dict(image=[dict(bytes=data, path=None) for _, _, data in rows],
                 label=[CLASSES.index(kind) for _, kind, _ in rows]), features(datasets))
        for split, rows in split_rows.items()})


def write_saved(root, split, rows):
    hugging_face({split: rows})[split].save_to_disk(root / split)


def write_parquet_images(root, split, rows):
    root.mkdir(exist_ok=True)
    hugging_face({split: rows})[split].to_parquet(root / f'{split}-00000-of-00001.parquet')


WRITERS = [write_folder, write_text, write_csv, write_parquet_paths, write_shards, write_lmdb,
           write_saved, write_parquet_images]


@pytest.fixture(autouse=True)
def caches(tmp_path_factory, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
    if find_spec('datasets'):
        import datasets
        monkeypatch.setattr(datasets.config, 'HF_DATASETS_CACHE', tmp_path_factory.mktemp('hf'))


def greys(images):
    return [int(images[i]['img'][0, 0, 0]) for i in range(len(images))]


@pytest.mark.parametrize('write', WRITERS)
def test_the_same_images_labels_and_classes_wherever_they_lie(tmp_path, write):
    root = tmp_path / 'set'
    for split in ('train', 'val'):
        write(root, split, entries(split))
    train = ClassFolders(str(root), 'train', pipeline=LOAD)
    assert sorted(greys(train)) == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
    assert train.get_gt_labels().tolist() == [grey // 10 for grey in greys(train)]
    assert [train[i]['gt_label'] for i in range(12)] == train.get_gt_labels().tolist()
    numbered = write is write_parquet_paths
    assert train.CLASSES == (('0', '1', '2') if numbered else CLASSES)
    assert '12 images' in train.description
    some = [row for row in entries('val') if row[1] != 'ant']
    for path in sorted(root.rglob('val*'), reverse=True):  # again, with two of the classes
        path.unlink() if path.is_file() else None
    write(tmp_path / 'other', 'val', some)
    val = ClassFolders(str(tmp_path / 'other'), 'val', pipeline=LOAD, classes=train.CLASSES)
    assert val.get_gt_labels().tolist() == [1, 1, 2, 2] and val.CLASSES == train.CLASSES
    assert greys(val) == [110, 111, 120, 121]
    with pytest.raises(UserError, match='dog|cow|no class'):
        write(tmp_path / 'third', 'val', some) if write in (
            write_parquet_paths, write_saved, write_parquet_images) else write(
            tmp_path / 'third', 'val', [(f'dog/{i}.png', 'dog', picture(i)) for i in range(2)])
        ClassFolders(str(tmp_path / 'third'), 'val', classes=train.CLASSES if write not in (
            write_parquet_paths, write_saved, write_parquet_images) else CLASSES[:2])


@pytest.mark.parametrize('write', WRITERS)
def test_damage_is_named_by_its_key_and_another_image_takes_the_place(tmp_path, write, caplog):
    rows = entries('train')
    rows[6] = (*rows[6][:2], DAMAGED)
    write(tmp_path / 'set', 'train', rows)
    images = ClassFolders(str(tmp_path / 'set'), 'train', pipeline=LOAD, test_mode=True)
    assert greys(images) == [0, 1, 2, 3, 10, 11, 13, 13, 20, 21, 22, 23]
    assert int(images._unreadable.sum()) == 1
    assert images.get_data_info(6)['img_path'] == images.data_list.source.key(6)
    with pytest.raises(TooManyUnreadable, match='1 of 12 images') as raised:
        ClassFolders(str(tmp_path / 'set'), 'train', pipeline=LOAD, max_unreadable=0.)[6]
    key = images.data_list.source.key(6)
    assert key in str(raised.value)
    part = {write_shards: 'train-001.tar/000006.png', write_lmdb: 'train.lmdb/bee/2.png',
            write_saved: 'train/6'}.get(write, '')
    assert key.endswith(part)


@pytest.mark.parametrize('write', WRITERS)
def test_workers_read_every_image_once_and_resuming_decodes_nothing_twice(tmp_path, write):
    write(tmp_path / 'set', 'train', entries('train'))
    place = tmp_path / 'set'
    place = {write_text: place / 'train.txt', write_csv: place / 'train.csv',
             write_parquet_paths: place / 'train.parquet', write_lmdb: place / 'train.lmdb',
             write_saved: place / 'train'}.get(write, place)
    images = UnlabelledImages(str(place), pipeline=LOAD)
    assert 'gt_label' not in images[0] and len(images) == 12
    sampler = ResumableSampler(images, seed=3)
    loader = DataLoader(images, 4, sampler=sampler, num_workers=2, collate_fn=lambda batch: [
        int(item['img'][0, 0, 0]) for item in batch])
    whole = sum(loader, [])
    assert sorted(whole) == sorted(greys(images)) and whole != greys(images)
    sampler.skip(5)
    assert sum(loader, []) == whole[5:]
    again = pickle.loads(pickle.dumps(images.data_list.source))  # for spawned workers
    assert again.key(3) == images.data_list.source.key(3) and again.read(3) == \
        images.data_list.source.read(3)


def test_which_kind_of_place_it_is(tmp_path):
    kinds = {write_folder: 'folder', write_text: 'folder', write_shards: 'shards'}
    for write, kind in kinds.items():
        write(tmp_path / write.__name__, 'train', entries('train'))
        assert kind_of_place(str(tmp_path / write.__name__)) == kind
    assert kind_of_place(str(tmp_path / 'write_text/train.txt')) == 'table'
    assert kind_of_place('x-{000..005}.tar') == 'shards'
    (tmp_path / 'x.mp4').touch()
    for path, words in ((tmp_path / 'x.mp4', 'of no kind that is read: expected a folder'),
                        (tmp_path / 'none', 'is not a folder, nor anything else'),
                        ('owner/name', 'is not a folder')):
        with pytest.raises(NoImages, match=words):
            UnlabelledImages(str(path))


def test_a_place_of_one_split_is_not_taken_for_both(tmp_path):
    write_csv(tmp_path, 'train', entries('train'))
    write_shards(tmp_path / 'tar', 'part', entries('train'))
    for place in (tmp_path / 'train.csv', tmp_path / 'tar'):
        assert len(open_source(str(place), 'train', True)) == 12
        with pytest.raises(NoImages, match='no split|no column'):
            open_source(str(place), 'val', True)


def test_a_table_with_a_column_of_splits(tmp_path):
    write_files(tmp_path, entries('train') + [(f'v{name}', kind, data)
                                              for name, kind, data in entries('val')])
    rows = [(name, kind, 'TRAIN') for name, kind, _ in entries('train')] + [
        (f'v{name}', kind, 'valid') for name, kind, _ in entries('val')]
    with open(tmp_path / 'all.tsv', 'w', newline='') as file:
        csv.writer(file, delimiter='\t').writerows([('where', 'animal', 'split'), *rows])
    columns = dict(column='where', label_column='animal')
    assert len(open_source(str(tmp_path / 'all.tsv'), 'val', True, **columns)) == 6
    assert len(UnlabelledImages(str(tmp_path / 'all.tsv'), column='where')) == 12
    with pytest.raises(NoImages, match="no row of the split 'odd'.* 'TRAIN', 'valid'"):
        open_source(str(tmp_path / 'all.tsv'), 'odd', True, **columns)
    with pytest.raises(UserError, match='no column of paths with a usual name'):
        UnlabelledImages(str(tmp_path / 'all.tsv'))
    with pytest.raises(UserError, match="no column 'nope'"):
        UnlabelledImages(str(tmp_path / 'all.tsv'), column='nope')


@pytest.mark.parametrize('text, words', [
    ('a.png\nb.png 1\n', 'line 2: expected a path alone'),
    ('a.png 1\n\nb.png\n', 'line 3: expected a path and its class'),
    ('x.png\ny.png\n', '2 of the 2 files .* not there.* relative to the folder of the table'),
    ('', 'list.txt has no rows')])
def test_what_is_wrong_with_a_list(tmp_path, text, words):
    write_files(tmp_path, [('a.png', '', picture(1)), ('b.png', '', picture(2))])
    (tmp_path / 'list.txt').write_text(text)
    with pytest.raises((NoImages, UserError), match=words):
        UnlabelledImages(str(tmp_path / 'list.txt'))


def test_lists_with_blanks_odd_names_and_missing_files(tmp_path):
    odd = os.fsdecode(b'caf\xe9.png')
    write_files(tmp_path, [('a b.png', '', picture(1)), (odd, '', picture(2))])
    (tmp_path / 'list.txt').write_bytes(
        f'a b.png\n{odd}\r\n{tmp_path}/a b.png\ngone.png\n'.encode('utf-8', 'surrogateescape'))
    images = UnlabelledImages(str(tmp_path / 'list.txt'), pipeline=LOAD, max_unreadable=1.)
    assert [images.data_list[i]['img_path'] for i in range(3)] == [
        str(tmp_path / 'a b.png'), str(tmp_path / odd), str(tmp_path / 'a b.png')]
    assert '1 of the 4 files' in images.description and 'gone.png' in images.description
    assert images[0]['img'][0, 0, 0] == 1 and images[1]['img'][0, 0, 0] == 2
    assert images.prepare_data(3) is None


def test_a_shard_that_is_cut_off_keeps_what_is_whole(tmp_path):
    write_shards(tmp_path, 'train', entries('train'), each=12)
    whole = open_source(str(tmp_path))
    path = tmp_path / 'train-000.tar'
    offset, size = whole.spans[5].tolist()
    os.truncate(path, offset + size // 2)
    source = open_source(str(tmp_path))
    assert len(source) == 6 and 'is damaged behind its first 6 images' in source.description
    assert source.read(4) == whole.read(4) == entries('train')[4][2]
    with pytest.raises(UnreadableImage, match='000.tar/000005.png: the shard ends in the midd'):
        source.read(5)
    path.unlink()
    with pytest.raises(UnreadableImage, match='No such file'):
        pickle.loads(pickle.dumps(source)).read(0)


def test_labels_of_shards(tmp_path):
    def shard(name, *rows):
        with tarfile.open(tmp_path / name, 'w') as file:
            for member, content in rows:
                entry = tarfile.TarInfo(member)
                entry.size = len(content)
                file.addfile(entry, io.BytesIO(content))
        return str(tmp_path / name)

    one = picture(1)
    numbers = open_source(shard('n.tar', ('a/x.cls', b'7'), ('a/x.jpg', one), ('b/x.jpg', one),
                                ('b/x.json', json.dumps(dict(label=2)).encode())), '', True)
    assert numbers.labels.tolist() == [7, 2] and len(numbers.classes) == 8
    folders = open_source(shard('f.tar', ('cow/1.jpg', one), ('ant/1.jpg', one)), '', True)
    assert folders.labels.tolist() == [1, 0] and folders.classes == ('ant', 'cow')
    with pytest.raises(UserError, match="no labels: neither .* as '1.jpg' shows"):
        open_source(shard('0.tar', ('1.jpg', one), ('ant/1.jpg', one)), '', True)
    with pytest.raises(UserError, match='the label -1 is no class'):
        open_source(shard('m.tar', ('1.jpg', one), ('1.cls', b'-1')), '', True)


@pytest.mark.parametrize('labelled', [False, True])
def test_an_empty_place_is_not_the_current_folder(labelled, tmp_path, monkeypatch):
    """An unset variable of a shell."""
    Image.new('RGB', (8, 8)).save(tmp_path / 'a.png')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoImages, match="is empty .*give a folder"):
        open_source('', 'train', labelled)


def test_shards_as_webdataset_writes_and_reads_them(tmp_path):
    webdataset = pytest.importorskip('webdataset')
    with webdataset.ShardWriter(f'{tmp_path}/train-%03d.tar', maxcount=5, verbose=0) as writer:
        for number, (_, kind, data) in enumerate(entries('train')):
            writer.write({'__key__': f'{number:05}', 'png': data, 'cls': CLASSES.index(kind)})
    pattern = f'{tmp_path}/train-{{000..002}}.tar'
    source = open_source(pattern, '', True)
    reference = list(webdataset.WebDataset(pattern, shardshuffle=False))
    assert [source.read(i) for i in range(12)] == [sample['png'] for sample in reference]
    assert source.labels.tolist() == [int(sample['cls']) for sample in reference]
    assert expand_braces(pattern) == webdataset.shardlists.expand_urls(pattern)


def test_patterns_of_shards(tmp_path):
    assert expand_braces('a-{08..10}.tar') == ['a-08.tar', 'a-09.tar', 'a-10.tar']
    assert expand_braces('{x,y}/{9..10}.tar') == ['x/9.tar', 'x/10.tar', 'y/9.tar', 'y/10.tar']
    write_shards(tmp_path, 'train', entries('train'))
    assert len(open_source(f'{tmp_path}/train-*.tar')) == 12
    with pytest.raises(NoImages, match='2 of 5 shards are not there, such as .*train-003.tar'):
        open_source(f'{tmp_path}/train-{{000..004}}.tar')


def test_rows_without_a_label_are_an_error(tmp_path):
    write_csv(tmp_path, 'train', [(name, '' if name == 'ant/0.png' else kind, data)
                                  for name, kind, data in entries('train')])
    with pytest.raises(UserError, match='1 of 12 images have no label'):
        open_source(str(tmp_path), 'train', True)
    (tmp_path / 'bad.csv').write_text('path,label\na.png\n')
    with pytest.raises(UserError, match='bad.csv, line 2: 1 fields, but the header has 2'):
        open_source(str(tmp_path / 'bad.csv'))


def test_a_hugging_face_dict_and_the_local_cache(tmp_path, monkeypatch):
    both = hugging_face({split: entries(split) for split in ('train', 'test')})
    both.save_to_disk(tmp_path / 'saved')
    assert len(UnlabelledImages(str(tmp_path / 'saved'))) == 12
    assert open_source(str(tmp_path / 'saved'), 'val', True).labels.tolist() == [0, 0, 1, 1, 2, 2]
    snapshot = tmp_path / 'hub/datasets--me--animals/snapshots/0a1b'
    (snapshot / 'data').mkdir(parents=True)
    for split in both:
        both[split].to_parquet(snapshot / f'data/{split}-00000-of-00001.parquet')
    monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path / 'hub'))
    source = open_source('me/animals', 'val', True)
    assert len(source) == 6 and source.classes == CLASSES
    assert source.read(0) == entries('val')[0][2]
    saved = both['train'].select([3, 1]).rename_column('image', 'odd')
    saved.save_to_disk(tmp_path / 'part')
    assert open_source(str(tmp_path / 'part'), '', True).labels.tolist() == [0, 0]
    with pytest.raises(UserError, match="no column 'picture'"):
        open_source(str(tmp_path / 'part'), column='picture')


def test_rows_without_an_image_are_named(tmp_path):
    pytest.importorskip('datasets')
    parquet, arrow = pytest.importorskip('pyarrow.parquet'), pytest.importorskip('pyarrow')
    (tmp_path / 'there.png').write_bytes(picture(4))
    images = arrow.array(
        [dict(bytes=None, path=str(tmp_path / 'gone.png')), None,
         dict(bytes=picture(3), path=None), dict(bytes=None, path=str(tmp_path / 'there.png'))],
        arrow.struct([('bytes', arrow.binary()), ('path', arrow.string())]))
    parquet.write_table(arrow.table(dict(image=images)), tmp_path / 'x.parquet')
    source = open_source(str(tmp_path / 'x.parquet'))
    with pytest.raises(UnreadableImage, match='x.parquet/0: .*gone.png: No such file'):
        source.read(0)
    with pytest.raises(UnreadableImage, match='x.parquet/1: there is no image in the row'):
        source.read(1)
    assert source.read(2) == picture(3) and source.read(3) == picture(4)


def test_a_missing_library_is_named_with_the_way_to_it(tmp_path, monkeypatch):
    import builtins
    (tmp_path / 'base').mkdir()
    (tmp_path / 'base/data.mdb').touch()
    real = builtins.__import__
    monkeypatch.setattr('mmwamim.datasets.sources.labels.import_module',
                        lambda name: real(f'no_{name}'))
    with pytest.raises(UserError, match=r"need lmdb, .*pip install lmdb, or .*mmwamim\[data"):
        open_source(str(tmp_path / 'base'))


def test_a_damaged_data_base_is_one_line(tmp_path):
    pytest.importorskip('lmdb')
    (tmp_path / 'data.mdb').write_bytes(b'x' * 9000)
    with pytest.raises(NoImages, match='cannot be opened as an LMDB data base'):
        open_source(str(tmp_path))


def test_deep_pictures_from_bytes_have_the_values_of_the_file(tmp_path):
    """16-bit colours go round Pillow, by path or by bytes."""
    from mmwamim.datasets.loading import read_rgb
    tifffile = pytest.importorskip('tifffile')
    import cv2
    deep = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    tifffile.imwrite(tmp_path / 'x.tif', deep, photometric='rgb')
    cv2.imwrite(str(tmp_path / 'x.png'), deep)
    for name in ('x.tif', 'x.png'):
        for value_range in (None, (0, 40000)):
            by_path = read_rgb(tmp_path / name, value_range=value_range)
            data = (tmp_path / name).read_bytes()
            assert np.array_equal(by_path, read_rgb('key', value_range=value_range, data=data))
    assert np.array_equal(read_rgb(tmp_path / 'x.tif'), (deep >> 8).astype(np.uint8))


@pytest.mark.parametrize('write', WRITERS)
def test_a_digest_tells_other_images_wherever_they_lie(tmp_path, write):
    def digest(where, rows):
        write(tmp_path / where, 'train', rows)
        return ClassFolders(str(tmp_path / where), 'train').data_list.digest()

    rows = entries('train')
    whole = digest('here', rows)
    assert whole == digest('elsewhere', rows)
    other = [*rows[:5], ('bee/7.png', 'bee', rows[5][2] + b'more'), *rows[6:]]
    assert whole != digest('other', other)
    records = ClassFolders(str(tmp_path / 'here'), 'train').data_list
    assert records[[0, 1]].digest() != records[[0, 2]].digest() != whole
