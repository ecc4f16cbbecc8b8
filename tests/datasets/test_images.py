"""Folders with classes as a data set: labels, damaged images, one list for every split."""
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from PIL import Image
from torch.utils.data import DataLoader

from mmwamim.datasets import ClassFolders, ResumableSampler, UnlabelledImages, unreadable
from mmwamim.datasets.sampling import Draw
from mmwamim.datasets.unreadable import TooManyUnreadable
from mmwamim.errors import UserError

LOAD = [dict(type='mmwamim.LoadImage')]


def paint(root, grey, *names):
    """Images of one grey level each."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (8, 6), (grey, ) * 3).save(path)
    return root


def damage(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'\xff\xd8\xff no picture')


@pytest.fixture
def root(tmp_path):
    for grey, name in enumerate(('ant', 'bee', 'cow'), start=1):
        paint(tmp_path / 'train' / name, 10 * grey, *(f'{i}.png' for i in range(4)))
    paint(tmp_path / 'val/bee', 20, '0.png', '1.png')
    paint(tmp_path / 'val/cow', 30, '0.png')
    return tmp_path


def test_labels_count_in_the_list_of_the_training_set(root):
    train = ClassFolders(str(root), 'train', pipeline=LOAD)
    assert train.metainfo['classes'] == ('ant', 'bee', 'cow')
    assert train.get_gt_labels().tolist() == [0] * 4 + [1] * 4 + [2] * 4
    val = ClassFolders(str(root), 'val', pipeline=LOAD, classes=train.CLASSES)
    assert val.get_gt_labels().tolist() == [1, 1, 2]
    assert [val[i]['img'][0, 0, 0] for i in range(3)] == [20, 20, 30]
    assert "no images of 1 of 3 classes: 'ant'" in val.description
    (root / 'names.txt').write_text('ant\nbee\ncow\n')
    assert ClassFolders(str(root), 'val', classes=str(root / 'names.txt')).CLASSES == train.CLASSES
    paint(root / 'val/dog', 40, '0.png')
    with pytest.raises(UserError, match="does not have: 'dog'"):
        ClassFolders(str(root), 'val', classes=train.CLASSES)


def test_the_same_order_as_mmpretrains_own_data_set(root):
    from mmpretrain.datasets import CustomDataset
    paint(root / 'train/ant b', 1, 'z.png', 'a/b.png', 'a-b.png')
    ours = ClassFolders(str(root), 'train')
    theirs = CustomDataset(str(root), 'train')
    for i in range(len(theirs)):
        assert ours.get_data_info(i) == theirs.get_data_info(i)
    assert ours.CLASSES == theirs.CLASSES and len(ours) == len(theirs)
    part = dict(indices=[0, 5, 9])
    assert ClassFolders(str(root), 'train', **part).get_gt_labels().tolist() == CustomDataset(
        str(root), 'train', **part).get_gt_labels().tolist()


def test_one_damaged_labelled_image_does_not_end_training(root, caplog):
    damage(root / 'train/bee/2.png')
    train = ClassFolders(str(root), 'train', pipeline=LOAD)  # of 12 images, more than 1 %
    for epoch in range(3):
        for index in range(12):
            item = train[Draw(0, epoch, index)]
            assert item['img'][0, 0, 0] == 10 * (item['gt_label'] + 1)
            again = train[Draw(0, epoch, index)]
            assert again['img_path'] == item['img_path']
    assert int(train._unreadable.sum()) == 1
    damage(root / 'train/bee/3.png')
    with pytest.raises(TooManyUnreadable, match='2 of 12 .* max_unreadable = 0.01'):
        for index in range(12):
            train[index]
    with pytest.raises(TooManyUnreadable, match='1 of 12'):
        ClassFolders(str(root), 'train', pipeline=LOAD, max_unreadable=0.)[6]


def test_in_evaluation_the_next_of_the_class_takes_the_place(root):
    damage(root / 'train/ant/3.png', root / 'train/cow/0.png')
    images = ClassFolders(str(root), 'train', pipeline=LOAD, test_mode=True, max_unreadable=1.)
    names = [images[i]['img_path'].split('train/')[1] for i in range(12)]
    assert names[3] == 'ant/0.png' and names[8] == 'cow/1.png'
    assert [images[i]['gt_label'] for i in range(12)] == [0] * 4 + [1] * 4 + [2] * 4
    damage(*(root / f'train/cow/{i}.png' for i in range(4)))
    with pytest.raises(TooManyUnreadable, match='no image of the class of .*cow/2.png can be read'):
        images[10]
    flat = UnlabelledImages(str(root / 'train/ant'), pipeline=LOAD, test_mode=True)
    assert flat[3]['img_path'].endswith('ant/0.png')


def test_the_error_of_a_worker_process_says_what_to_do(root):
    damage(*(root / f'train/ant/{i}.png' for i in range(3)))
    images = ClassFolders(str(root), 'train', pipeline=LOAD)
    with pytest.raises(UserError, match='raise max_unreadable of the data set'):
        list(DataLoader(images, batch_size=4, num_workers=1, collate_fn=len))


def test_zero_byte_files_are_damaged_images(root):
    (root / 'train/ant/0.png').write_bytes(b'')
    images = ClassFolders(str(root), 'train', pipeline=LOAD)
    assert len(images) == 12 and np.all([images[i]['img'].any() for i in range(12)])
    assert int(images._unreadable.sum()) == 1


@pytest.mark.parametrize('persistent', [False, True])
@pytest.mark.parametrize('test_mode', [False, True])
def test_an_unreadable_image_is_named_once_over_epochs_and_workers(root, tmp_path, persistent,
                                                                   test_mode):
    damage(root / 'train/bee/2.png', root / 'train/cow/1.png')
    images = ClassFolders(str(root), 'train', pipeline=LOAD, max_unreadable=0.5,
                          test_mode=test_mode)
    logger, file = MMLogger.get_current_instance(), logging.FileHandler(tmp_path / 'log')
    logger.addHandler(file)
    try:  # workers that are forked write to it, too
        loader = DataLoader(images, 3, num_workers=2, persistent_workers=persistent,
                            sampler=ResumableSampler(images, seed=0), collate_fn=len)
        assert [sum(loader) for _ in range(3)] == [12] * 3
        assert [images[i]['img'] is None for i in range(12)] == [False] * 12  # and here
    finally:
        logger.removeHandler(file)
        file.close()
    log = (tmp_path / 'log').read_text()
    assert log.count('unreadable image, skipped') == 2
    assert log.count('train/bee/2.png') == log.count('train/cow/1.png') == 1


def test_what_other_ranks_could_not_read_is_named_once(root, monkeypatch, caplog):
    damage(root / 'train/bee/2.png', root / 'train/bee/3.png')
    images = ClassFolders(str(root), 'train', pipeline=LOAD, max_unreadable=0.5)
    bad = [i for i in range(12) if 'bee/2' in images.get_data_info(i)['img_path']
           or 'bee/3' in images.get_data_info(i)['img_path']]
    images[bad[0]]
    monkeypatch.setattr(unreadable, 'get_world_size', lambda: 2)
    monkeypatch.setattr(unreadable, 'all_reduce', lambda flags, how: flags.index_fill_(
        0, torch.tensor(bad), 1) if how == 'max' else None)
    MMLogger.get_current_instance().addHandler(caplog.handler)
    caplog.clear()
    for _ in range(2):  # epochs
        unreadable.name_unreadable(SimpleNamespace(datasets=[images]))
    named = [record.getMessage() for record in caplog.records]
    assert len(set(named)) == 1
    assert named[0].endswith('bee/3.png') and 'skipped by another rank' in named[0]
    assert images._unreadable.sum() == 2 and images[bad[1]]['img'] is not None
    assert len(caplog.records) == len(named)  # nor again when it is met here
    MMLogger.get_current_instance().removeHandler(caplog.handler)


def test_the_limit_counts_what_all_ranks_met_together(root, monkeypatch):
    """Two of twelve here and two there, of which three are allowed: no rank is above it alone."""
    damage(*(root / f'train/bee/{i}.png' for i in range(4)))
    images = ClassFolders(str(root), 'train', pipeline=LOAD, max_unreadable=0.25)
    bad = [i for i in range(12) if 'bee' in images.get_data_info(i)['img_path']]
    for index in bad[:2]:
        images[index]
    monkeypatch.setattr(unreadable, 'get_world_size', lambda: 2)
    there = bad[1:3]  # three together
    monkeypatch.setattr(unreadable, 'all_reduce', lambda flags, how: flags.index_fill_(
        0, torch.tensor(there), 1))
    unreadable.name_unreadable(images)
    there = bad[2:]
    with pytest.raises(TooManyUnreadable, match='^4 of 12 images .*; the last is .*bee/3.png'):
        unreadable.name_unreadable(images)
