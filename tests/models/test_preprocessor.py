import pytest
import torch
from mmpretrain.models import SelfSupDataPreprocessor
from mmpretrain.structures import DataSample

from mmwamim.models import ImagePreprocessor

FIELDS = dict(mean=[120., 110., 100.], std=[50., 60., 70.])


@pytest.mark.parametrize('fields', [{}, FIELDS, dict(FIELDS, to_rgb=True),
                                    dict(FIELDS, bgr_to_rgb=True)])
@pytest.mark.parametrize('views', [0, 2])
def test_values_are_those_of_mmpretrain(fields, views):
    images = [torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8) for _ in range(views or 1)]
    samples = [object(), object()]
    data = dict(inputs=images if views else images[0], data_samples=samples)
    ours = ImagePreprocessor(**fields)(data, training=True)
    theirs = SelfSupDataPreprocessor(**fields)(dict(data, data_samples=None), training=True)
    assert ours['data_samples'] is samples
    for one, other in zip(*(found['inputs'] if views else [found['inputs']]
                            for found in (ours, theirs)), strict=True):
        assert torch.equal(one, other) and one.dtype == torch.float32


def test_tensors_of_samples_go_to_the_device():
    preprocessor = ImagePreprocessor().to('meta')
    sample = DataSample(mask=torch.ones(2, 2))
    found = preprocessor(dict(inputs=torch.zeros(1, 3, 4, 4), data_samples=[sample]))
    assert found['inputs'].is_meta and found['data_samples'][0].mask.is_meta


def test_colours_that_are_not_three_are_named():
    with pytest.raises(ValueError, match='to_rgb is for images of three channels, not 1'):
        ImagePreprocessor(to_rgb=True)(dict(inputs=torch.zeros(1, 1, 4, 4)))


def test_what_it_is_given_stays_as_it_is():
    data = dict(inputs=torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2), data_samples=[None])
    before = data['inputs'].clone()
    ImagePreprocessor(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                      to_rgb=True)(data)
    assert torch.equal(data['inputs'], before)
