"""What every encoder must keep to; each encoder's test class inherits :class:`EncoderContract`."""
from abc import ABC, abstractmethod

import pytest
import torch

from mmwamim.models.masking import draw_mask, rescale_mask
from tests.support.models import noise, shake


class EncoderContract(ABC):
    """A subclass says how to build the encoder and the stock class it stands in for."""

    size = (64, 96)
    """An image size, not square."""
    shared_masks_only = False
    """Whether all images of a batch must share their mask."""

    @abstractmethod
    def build(self, **fields):
        """The encoder for images of ``self.size`` with four levels; ``fields`` override."""

    @abstractmethod
    def build_stock(self):
        """The stock mmpretrain class of the same shape, randomly initialised."""

    def encoder(self, **fields):
        torch.manual_seed(0)
        encoder = self.build(**fields)
        encoder.init_weights()
        return shake(encoder)

    def mask(self, encoder, batch=2, ratio=0.75, seed=0):
        torch.manual_seed(seed)
        rows, cols = (side // encoder.mask_unit for side in self.size)
        return draw_mask(1 if self.shared_masks_only else batch, (rows, cols), ratio)

    def pixels(self, encoder, mask):
        """(B or 1, 1, H, W), True where a pixel is masked."""
        unit = encoder.mask_unit
        return mask.repeat_interleave(unit, 1).repeat_interleave(unit, 2)[:, None]

    def test_features_have_the_announced_shapes(self):
        encoder = self.encoder()
        mask = self.mask(encoder)
        features = encoder(noise(2, 3, *self.size), mask)
        assert isinstance(features, list)
        assert len(features) == len(encoder.feature_channels) == len(encoder.feature_strides)
        for feature, channels, stride in zip(features, encoder.feature_channels,
                                             encoder.feature_strides, strict=True):
            grid = (self.size[0] // stride, self.size[1] // stride)
            hidden = rescale_mask(mask[:1], grid)
            assert set(hidden.unique().tolist()) <= {0., 1.}
            visible = int((hidden == 0).sum())
            assert feature.shape == (2, encoder.num_extra_tokens + visible, channels)

    def test_masked_pixels_are_never_seen(self):
        encoder = self.encoder().eval()
        mask, images = self.mask(encoder), noise(2, 3, *self.size)
        hidden = self.pixels(encoder, mask)
        other = torch.where(hidden, noise(2, 3, *self.size, seed=1), images)
        for before, after in zip(encoder(images, mask), encoder(other, mask), strict=True):
            assert torch.equal(before, after)

    def test_every_visible_pixel_is_seen(self):
        encoder = self.encoder().eval()
        mask, images = self.mask(encoder), noise(2, 3, *self.size).requires_grad_()
        sum((level**2).sum() for level in encoder(images, mask)).backward()
        hidden = self.pixels(encoder, mask).expand_as(images)
        assert (images.grad[hidden] == 0).all()
        assert (images.grad[~hidden] != 0).all()

    def test_images_do_not_see_each_other(self):
        encoder = self.encoder().eval()
        mask, images = self.mask(encoder), noise(2, 3, *self.size)
        together = encoder(images, mask)
        for b in range(2):
            alone = encoder(images[b:b + 1], mask[b:b + 1] if len(mask) == 2 else mask)
            for ours, theirs in zip(together, alone, strict=True):
                torch.testing.assert_close(ours[b:b + 1], theirs, rtol=0, atol=2e-5)

    def test_a_shared_mask_is_the_mask_of_every_image(self):
        encoder = self.encoder().eval()
        images, mask = noise(2, 3, *self.size), self.mask(encoder)[:1]
        shared = encoder(images, mask)
        for b in range(2):
            for ours, theirs in zip(shared, encoder(images[b:b + 1], mask), strict=True):
                torch.testing.assert_close(ours[b:b + 1], theirs, rtol=0, atol=2e-5)

    def test_checkpoint_loads_into_the_stock_class_with_equal_features(self):
        encoder, stock = self.encoder(), self.build_stock()
        stock.load_state_dict(encoder.state_dict(), strict=True)
        encoder.eval()
        stock.eval()
        images = noise(2, 3, *self.size)
        ours, theirs = encoder(images), stock(images)
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert torch.equal(mine, other)

    def test_stock_checkpoint_loads_into_the_encoder(self):
        encoder, stock = self.encoder(), shake(self.build_stock())
        encoder.load_state_dict(stock.state_dict(), strict=True)
        for name, value in stock.state_dict().items():
            assert torch.equal(encoder.state_dict()[name], value), name

    def test_every_trained_parameter_gets_a_gradient(self):
        encoder = self.encoder()
        features = encoder(noise(2, 3, *self.size), self.mask(encoder))
        sum((level**2).sum() for level in features).backward()
        for name, parameter in encoder.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
            else:
                assert parameter.grad is None, name

    def test_autocast_stays_near_float32(self):
        encoder = self.encoder().eval()
        images, mask = noise(2, 3, *self.size), self.mask(encoder)
        plain = encoder(images, mask)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            cast = encoder(images, mask)
        for ours, theirs in zip(cast, plain, strict=True):
            assert (ours.float() - theirs).abs().mean() < 0.03 * theirs.abs().mean()

    def test_train_and_eval_return_the_module(self):
        encoder = self.encoder()
        assert encoder.eval() is encoder and not encoder.training
        assert encoder.train() is encoder and encoder.training

    def test_a_misspelt_field_is_named(self):
        with pytest.raises(TypeError, match='drop_path_rat'):
            self.build(drop_path_rat=0.1)

    def test_masks_and_images_that_do_not_fit_are_refused(self):
        encoder = self.encoder()
        mask = self.mask(encoder)
        images = noise(2, 3, *self.size)
        wrong = mask.repeat_interleave(2, 1).repeat_interleave(2, 2)
        rows, cols = mask.shape[1:]
        with pytest.raises(ValueError, match=f'mask .*{rows}, *{cols}'):
            encoder(images, wrong)
        with pytest.raises(ValueError, match=r'mask'):
            encoder(images, mask[:1].expand(3, -1, -1))
        with pytest.raises(ValueError, match=f'divisible by .*{encoder.mask_unit}'):
            encoder(images[..., 1:], mask)

    def test_checkpointed_layers_give_the_same_gradients_from_less_memory(self):
        images, found = noise(2, 3, *self.size), {}
        for with_cp in (False, True):
            encoder = self.encoder(with_cp=with_cp, drop_path_rate=0.3)
            mask, kept = self.mask(encoder), []
            torch.manual_seed(7)  # of drop path, drawn again in the backward pass
            with torch.autograd.graph.saved_tensors_hooks(
                    lambda t, kept=kept: kept.append(t.numel()) or t, lambda t: t):
                features = encoder(images, mask)
            sum(level.square().sum() for level in features).backward()
            found[with_cp] = features, {name: p.grad for name, p in encoder.named_parameters()}, \
                sum(kept)
        for ours, theirs in zip(found[True][0], found[False][0], strict=True):
            torch.testing.assert_close(ours, theirs)
        for name, expected in found[False][1].items():
            torch.testing.assert_close(found[True][1][name], expected, msg=name)
        assert found[True][2] < 0.5 * found[False][2]
