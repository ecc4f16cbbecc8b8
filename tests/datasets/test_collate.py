import pickle

import pytest
import torch
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader

from mmwamim.datasets.collate import PathSamples, collate_images
from mmwamim.errors import UserError
from mmwamim.registry import FUNCTIONS


def item(number, **fields):
    sample = DataSample(metainfo=dict(img_path=f'{number}.jpg'), **fields)
    return dict(inputs=torch.full((3, 2, 2), number, dtype=torch.uint8), data_samples=sample)


def test_images_are_stacked_and_files_keep_their_order():
    batch = collate_images([item(number) for number in (4, 2, 9)])
    assert list(batch) == ['inputs', 'data_samples']
    assert batch['inputs'].shape == (3, 3, 2, 2)
    assert batch['inputs'][:, 0, 0, 0].tolist() == [4, 2, 9]
    samples = pickle.loads(pickle.dumps(batch['data_samples']))
    assert [sample.img_path for sample in samples] == ['4.jpg', '2.jpg', '9.jpg']
    assert isinstance(samples[0], DataSample) and samples.paths == ('4.jpg', '2.jpg', '9.jpg')


def test_samples_that_say_more_stay_as_they_are():
    batch = collate_images([item(1, mask=torch.ones(2)), item(2, mask=torch.zeros(2))])
    assert isinstance(batch['data_samples'], list)
    assert batch['data_samples'][1].mask.tolist() == [0, 0]


def test_workers_hand_them_over():
    found = FUNCTIONS.get('mmwamim.collate_images')
    batch, = DataLoader([item(1), item(2)], batch_size=2, num_workers=1, collate_fn=found)
    assert isinstance(batch['data_samples'], PathSamples)
    assert batch['data_samples'].paths == ('1.jpg', '2.jpg')


@pytest.mark.parametrize('pixels, words', [
    (torch.zeros(3, 2, 2), r'uint8 of the shape \(3, 2, 2\), and 2.jpg is float32 of the shape'),
    (torch.zeros(4, 2, 2, dtype=torch.uint8), r'2.jpg is uint8 of the shape \(4, 2, 2\)'),
    (torch.zeros(3, 2, 5, dtype=torch.uint8), r'2.jpg is uint8 of the shape \(3, 2, 5\)')])
def test_images_that_cannot_be_one_batch_are_named(pixels, words):
    for fields in ({}, dict(mask=torch.ones(2))):
        other = dict(item(2, **fields), inputs=pixels)
        with pytest.raises(UserError, match=f'alike, but 1.jpg is .*{words}'):
            collate_images([item(1, **fields), item(1, **fields), other])
