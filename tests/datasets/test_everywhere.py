"""What ``--data`` of training takes, every other command and tool takes, too."""
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import Image

from mmwamim.commands import check as checking
from mmwamim.commands.embed import Attempts
from mmwamim.commands.show import read_images
from mmwamim.datasets.loading import UnreadableImage
from mmwamim.datasets.sources import name_of_place, open_all, open_source
from mmwamim.errors import UserError
from mmwamim.visualization.hook import ReconstructionHook
from tests.datasets.test_sources import (
    DAMAGED,
    WRITERS,
    caches,
    entries,
    hugging_face,
    picture,
    write_csv,
    write_files,
    write_folder,
    write_lmdb,
    write_parquet_images,
    write_saved,
    write_shards,
    write_text,
)

assert caches  # a fixture, for every test here
LISTS = {write_text: '.txt', write_csv: '.csv'}


def place_of(root, write, split='train'):
    """What a user would give."""
    ending = LISTS.get(write) or ('.parquet' if write.__name__ == 'write_parquet_paths' else '')
    ending = '/' if write is write_saved else ending
    return root / f'{split}{ending}' if ending else root


@pytest.mark.parametrize('write', WRITERS)
def test_check_reads_every_kind_and_goes_on(tmp_path, write, monkeypatch):
    monkeypatch.setattr(checking, 'ProcessPoolExecutor', ThreadPoolExecutor)
    rows = [(name, kind, DAMAGED if number == 6 else data)
            for number, (name, kind, data) in enumerate(entries('train'))]
    write(tmp_path / 'set', 'train', rows)
    place = place_of(tmp_path / 'set', write)
    found = checking.check(place, report=tmp_path / 'report.jsonl', workers=1)
    assert (found.images, found.looked_at, len(found.unreadable)) == (12, 12, 1)
    assert open_all(str(place)).key(6) in found.unreadable[0]
    assert len(found.of_one_colour) == 11  # the pictures have one
    again = checking.check(place, report=tmp_path / 'report.jsonl', workers=1)
    assert (again.looked_at, again.unreadable) == (0, found.unreadable)


@pytest.mark.parametrize('write', [write_folder, write_shards, write_lmdb, write_saved,
                                   write_parquet_images])
def test_all_splits_are_looked_at_under_names_of_their_own(tmp_path, write):
    for split in ('train', 'val'):
        write(tmp_path / 'set', split, entries(split))
    if write is write_saved:
        hugging_face({split: entries(split) for split in ('train', 'val')}).save_to_disk(
            tmp_path / 'both')
    source = open_all(str(tmp_path / ('both' if write is write_saved else 'set')))
    greys = [int(source.pixels(i)[0, 0, 0]) for i in range(len(source))]
    assert sorted(greys) == sorted(
        [10 * label + i for label in range(3) for i in range(4)]
        + [100 + 10 * label + i for label in range(3) for i in range(2)])
    names = [source.name(i) for i in range(len(source))]
    assert len(set(names)) == 18 and not any(str(tmp_path) in name for name in names)
    attempts = Attempts(source, lambda record: dict(record))
    assert attempts[3][0] == names[3] and attempts[3][1]['img_path'] == source.key(3)


def test_a_table_is_taken_whole(tmp_path):
    write_files(tmp_path, entries('train'))
    rows = [f'{name},{"train" if number % 2 else "val"}'
            for number, (name, _, _) in enumerate(entries('train'))]
    (tmp_path / 'all.csv').write_text('\n'.join(['path,split', *rows]))
    assert len(open_all(str(tmp_path / 'all.csv'))) == 12
    assert len(open_source(str(tmp_path / 'all.csv'))) == 6


def test_a_single_picture_and_what_has_no_columns(tmp_path):
    (tmp_path / 'x.odd').write_bytes(picture(7))
    source = open_all(str(tmp_path / 'x.odd'))
    assert len(source) == 1 and source.pixels(0)[0, 0, 0] == 7
    write_shards(tmp_path / 'tar', 'train', entries('train'))
    for place in (tmp_path / 'tar', tmp_path / 'tar/train-000.tar'):
        with pytest.raises(UserError, match="has no columns .'picture'.: only tables and Hugging"):
            open_source(str(place), column='picture')
    with pytest.raises(UserError, match='has no columns'):
        open_source(str(tmp_path / 'tar'), 'train', True, label_column='kind')
    assert name_of_place(tmp_path / 'train-{000..099}.tar.gz') == 'train'
    (tmp_path / 'birds').symlink_to(tmp_path / 'tar')  # a link has a name of its own
    assert name_of_place(f'{tmp_path}/birds/') == 'birds' == name_of_place(tmp_path / 'birds/.')


@pytest.mark.parametrize('channels', [None, 4])
def test_pictures_of_a_run_are_those_it_trains_on(tmp_path, channels):
    values = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 4), dtype=np.uint8)
    rows = []
    for number, image in enumerate(values):
        file = io.BytesIO()
        Image.fromarray(image if channels else image[..., :3]).save(file, 'PNG')
        rows.append((f'a/{number}.png', 'a', file.getvalue()))
    rows[1] = (*rows[1][:2], DAMAGED)
    write_lmdb(tmp_path / 'set', 'train', rows)
    place = str(tmp_path / 'set/train.lmdb')
    found = read_images(open_all(place), (40, 40), 6, channels=channels)
    colours = values[..., :channels] if channels else values[..., 2::-1]  # BGR, as mmcv has it
    expected = colours[[0, 2], :, 10:50].transpose(0, 3, 1, 2)
    assert np.array_equal(found.numpy(), expected)
    whole = open_all(place).pixels(2, channels)
    assert np.array_equal(whole, values[2, :, :, :channels or 3])
    hook = ReconstructionHook(place, most=6)
    inputs = hook._read(40, None, channels)
    assert inputs.shape == (3, channels or 3, 40, 40)  # another image takes the damaged one's place
    assert np.array_equal(inputs[2].numpy(), inputs[1].numpy())


KINDS = {
    'palette.png': lambda: Image.effect_noise((9, 7), 50).convert('P'),
    'grey.png': lambda: Image.effect_noise((9, 7), 50),
    'animated.gif': lambda: [Image.new('P', (9, 7)), Image.effect_noise((9, 7), 50).convert('P')],
    'cmyk.jpg': lambda: Image.effect_noise((9, 7), 50).convert('RGB').convert('CMYK'),
    'deep.png': lambda: Image.fromarray(
        np.random.default_rng(1).integers(0, 65536, (7, 9)).astype(np.uint16)),
}


@pytest.mark.parametrize('write', WRITERS)
def test_odd_pictures_are_the_same_from_everywhere(tmp_path, write):
    rows = []
    for name, make in KINDS.items():
        file, image = io.BytesIO(), make()
        first, *rest = image if isinstance(image, list) else [image]
        first.save(file, name.split('.')[1].replace('jpg', 'jpeg'), **(
            dict(save_all=True, append_images=rest) if rest else {}))
        rows.append((f'ant/{name}', 'ant', file.getvalue()))
    floats = io.BytesIO()
    tifffile.imwrite(floats, np.full((7, 9), np.nan, np.float32))
    bad = [('ant/float.tif', 'ant', floats.getvalue()), ('ant/empty.png', 'ant', b'')]
    kinds = {number: data for number, (_, _, data) in enumerate(rows + bad)}
    if write is write_shards:  # its names are numbers, and all end in .png
        bad[0] = ('ant/float.png', *bad[0][1:])
    write(tmp_path / 'set', 'train', [*rows, *bad])
    source = open_all(str(place_of(tmp_path / 'set', write)))
    seen = {}
    for place in range(len(source)):
        data = source.read(place)
        if data is None:
            with open(source.key(place), 'rb') as file:
                data = file.read()
        number = next(number for number, one in kinds.items() if one == data)
        try:
            seen[number] = source.pixels(place)
        except UnreadableImage as error:
            assert source.key(place) in str(error)
            seen[number] = None
    assert [seen[number] is None for number in range(7)] == [False] * 5 + [True] * 2
    for number in range(5):
        (tmp_path / 'one').write_bytes(kinds[number])
        assert np.array_equal(seen[number], open_all(str(tmp_path / 'one')).pixels(0))
    deep = np.random.default_rng(1).integers(0, 65536, (7, 9)) >> 8
    assert np.array_equal(seen[4][..., 0], deep) and seen[2].min() < seen[2].max()
