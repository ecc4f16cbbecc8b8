import pytest
import torch

from mmwamim.models import TargetGenerator


class Mean(TargetGenerator):

    def generate(self, images):
        return [torch.nn.functional.avg_pool2d(images, stride) for stride in self.grid_strides]


def test_levels_are_named_by_position():
    assert Mean(3, [4, 8], [3, 3]).level_names == ('level0', 'level1')


@pytest.mark.parametrize('fields', [([4, 8], [3]), ([], []), ([4], [3], ['a', 'b'])])
def test_lists_of_different_lengths_are_refused(fields):
    with pytest.raises(ValueError, match='one entry a level'):
        Mean(3, *fields)


def test_generate_must_be_written():
    with pytest.raises(TypeError, match='generate'):
        TargetGenerator(3, [4], [3])


def test_a_new_target_is_one_method():
    images = torch.randn(2, 3, 8, 16)
    levels = Mean(3, [4, 8], [3, 3])(images)
    torch.testing.assert_close(levels[1][1, 2, 0, 1], images[1, 2, :, 8:].mean())
