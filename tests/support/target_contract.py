"""What every target must keep to; each target's test class inherits :class:`TargetContract`."""
from abc import ABC, abstractmethod

import pytest
import torch

from mmwamim.models import TargetGenerator
from tests.support.models import noise


class TargetContract(ABC):
    """A subclass says how to build the target."""

    size = (64, 96)
    """An image size, not square, that fits."""

    @abstractmethod
    def build(self, in_channels=3):
        """The target generator for images of ``in_channels``."""

    def test_is_a_target_generator_with_one_entry_a_level(self):
        target = self.build()
        assert isinstance(target, TargetGenerator)
        levels = len(target.grid_strides)
        assert levels == len(target.channels) == len(target.level_names) > 0
        assert len(set(target.level_names)) == levels
        assert list(target.grid_strides) == sorted(target.grid_strides)  # finest first

    @pytest.mark.parametrize('channels', [1, 3, 4])
    def test_targets_have_the_announced_shapes(self, channels):
        target = self.build(channels)
        levels = target(noise(2, channels, *self.size))
        assert isinstance(levels, list)
        height, width = self.size
        for level, out, stride in zip(levels, target.channels, target.grid_strides, strict=True):
            assert level.shape == (2, out, height // stride, width // stride)
            assert level.dtype == torch.float32
            assert level.isfinite().all()
            assert level.std() > 0

    def test_takes_no_gradient(self):
        target = self.build()
        levels = target(noise(2, 3, *self.size).requires_grad_())
        assert not any(level.requires_grad for level in levels)
        assert not any(parameter.requires_grad for parameter in target.parameters())

    def test_autocast_changes_nothing(self):
        target, images = self.build(), noise(2, 3, *self.size)
        plain = target(images)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            cast = target(images)
        for ours, theirs in zip(cast, plain, strict=True):
            assert ours.dtype == torch.float32
            assert torch.equal(ours, theirs)

    def test_half_precision_images_are_computed_in_float32(self):
        target, images = self.build(), noise(2, 3, *self.size).bfloat16()
        for ours, theirs in zip(target(images), target(images.float()), strict=True):
            assert torch.equal(ours, theirs)

    def test_images_do_not_see_each_other(self):
        target, images = self.build(), noise(2, 3, *self.size)
        together = target(images)
        for b in range(2):
            for ours, theirs in zip(together, target(images[b:b + 1]), strict=True):
                torch.testing.assert_close(ours[b:b + 1], theirs, rtol=0, atol=1e-5)

    def test_images_are_not_written_to_and_calls_do_not_add_up(self):
        target, images = self.build(), noise(2, 3, *self.size)
        before = images.clone()
        first = target(images)
        target(noise(1, 3, *self.size, seed=1))
        assert torch.equal(images, before)
        for ours, theirs in zip(target(images), first, strict=True):
            assert torch.equal(ours, theirs)

    def test_wrong_channels_are_named(self):
        with pytest.raises(ValueError, match='in_channels = 3'):
            self.build()(noise(1, 4, *self.size))
        with pytest.raises(ValueError, match='in_channels = 3'):
            self.build()(noise(3, *self.size))

    def test_a_size_that_does_not_fit_names_the_divisor(self):
        target = self.build()
        divisor = max(target.grid_strides)
        height, width = self.size
        for size in ((height - 1, width), (height, width + divisor // 2)):
            with pytest.raises(ValueError, match=f'divisible by {divisor}'):
                target(noise(1, 3, *size))
