import torch
from mmpretrain.models import SelfSupDataPreprocessor

from mmwamim.models import ImagePreprocessor

COLOURS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def test_equals_mmpretrains():
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    for to_rgb in (False, True):
        ours = ImagePreprocessor(**COLOURS, to_rgb=to_rgb)
        theirs = SelfSupDataPreprocessor(**COLOURS, to_rgb=to_rgb)
        for inputs in (images, [images, images[..., 1:]]):
            found, expected = (part(dict(inputs=inputs, data_samples=None))
                               for part in (ours, theirs))
            assert found['data_samples'] is None
            torch.testing.assert_close(found['inputs'], expected['inputs'], rtol=0, atol=0)


def test_what_it_is_given_stays_as_it_is():
    data = dict(inputs=torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2), data_samples=[None])
    before = data['inputs'].clone()
    ImagePreprocessor(**COLOURS, to_rgb=True)(data)
    assert torch.equal(data['inputs'], before)
