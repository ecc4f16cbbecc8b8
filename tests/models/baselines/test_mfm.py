import numpy as np
import pytest
import torch

from mmwamim.models import MFM, FrequencyHead
from mmwamim.models.baselines.mfm import filter_images
from mmwamim.models.targets.fourier import low_frequencies
from tests.support.models import noise

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def small(drop_path=0., **fields):
    return MFM(
        data_preprocessor=dict(type='mmwamim.ImagePreprocessor', mean=MEAN, std=STD),
        backbone=dict(type='mmpretrain.VisionTransformer', img_size=32, patch_size=8,
                      out_type='featmap', drop_path_rate=drop_path,
                      arch=dict(embed_dims=24, num_layers=2, num_heads=2,
                                                    feedforward_channels=48)),
        neck=dict(type='mmpretrain.SimMIMLinearDecoder', in_channels=24, encoder_stride=8),
        head=dict(type='mmwamim.FrequencyHead'), **{'radius': 4., **fields})


def full_mask(kept, width):
    """The half plane's mask on the whole plane of numpy's fft2."""
    height = kept.shape[0]
    whole = np.zeros((height, width), bool)
    for row in range(height):
        for col in range(width):
            whole[row, col] = kept[row, col] if col < kept.shape[1] else kept[-row % height,
                                                                             width - col]
    return whole


@pytest.mark.parametrize('size', [(16, 16), (16, 24), (15, 21)])
@pytest.mark.parametrize('gamma', [1., 2.])
def test_head_equals_numpy_over_the_whole_plane(size, gamma):
    prediction, images = noise(2, 3, *size), noise(2, 3, *size, seed=1)
    low = low_frequencies(size, 3)
    kept = torch.stack([low, ~low])[:, None]
    loss = FrequencyHead(gamma)(prediction, images, kept)['loss']
    spectrum = np.fft.fft2((prediction - images).double().numpy(), norm='ortho')
    distance = (np.abs(spectrum)**gamma).mean(1)
    removed = ~np.stack([full_mask(one[0].numpy(), size[1]) for one in kept])
    np.testing.assert_allclose(loss, (distance * removed).sum() / removed.sum(), rtol=1e-5)


def pixels(*shape):
    """Images of smooth and rough parts, in [0, 1]."""
    return (0.5 + 0.2 * noise(*shape) + 0.3 * noise(*shape[:2], 1, 1, seed=1)).clamp(0, 1)


def obvious_filter(images, kept):
    """numpy over the whole plane, then the clamp."""
    filtered = [np.fft.ifft2(np.fft.fft2(image.double().numpy()) * full_mask(
        one[0].numpy(), images.shape[-1])).real for image, one in zip(images, kept)]
    return np.clip(np.stack(filtered), 0, 1)


def test_filters_keep_what_they_say():
    images = pixels(2, 3, 16, 24)
    low = low_frequencies((16, 24), 3)
    kept = torch.stack([low, ~low])[:, None]
    filtered = filter_images(images, kept)
    np.testing.assert_allclose(filtered, obvious_filter(images, kept), atol=1e-6)
    assert (filtered[1] == 0).float().mean() > 0.3  # of the high pass the clamp takes half


def test_the_loss_equals_numpy():
    """The whole method: pixels in [0, 1], filtered, clamped, then normalised; the loss over the
    frequencies that were taken away, with dropped paths."""
    torch.manual_seed(0)
    model = small(drop_path=0.5, low_pass=0.5).train()
    model.init_weights()
    images = pixels(4, 3, 32, 32)
    mean, std = (np.array(v).reshape(3, 1, 1) / 255 for v in (MEAN, STD))
    inputs = ((images.numpy() - mean) / std).astype(np.float32)
    low = torch.zeros(32, 17, dtype=torch.bool)
    for row in range(32):
        for col in range(17):
            low[row, col] = min(row, 32 - row)**2 + col**2 < 4**2
    kept = torch.stack([low, ~low, low, ~low])[:, None]
    model.draw_filters = lambda _: (torch.manual_seed(7), kept)[1]
    loss = model.loss(torch.from_numpy(inputs))['loss'].item()

    seen = ((obvious_filter(images, kept) - mean) / std).astype(np.float32)
    torch.manual_seed(7)  # for the same dropped paths
    with torch.no_grad():
        prediction = model.neck(model.backbone(torch.from_numpy(seen))[-1]).numpy()
    distance = np.abs(np.fft.fft2(prediction - inputs, norm='ortho'))
    removed = ~np.stack([full_mask(one[0].numpy(), 32) for one in kept])
    wanted = (distance * removed[:, None]).sum() / removed.sum() / 3
    np.testing.assert_allclose(loss, wanted, rtol=1e-4)


@pytest.mark.parametrize('share', [0., 1.])
def test_every_image_gets_the_pass_that_is_asked_for(share):
    kept = small(low_pass=share).draw_filters(torch.zeros(4, 3, 16, 16))
    low = low_frequencies((16, 16), 4., closed=False)
    assert low.sum() < low_frequencies((16, 16), 4.).sum()
    assert kept.shape == (4, 1, 16, 9)
    assert torch.equal(kept[:, 0], (low if share else ~low).expand(4, -1, -1))


def test_a_perfect_prediction_has_no_loss():
    images = noise(2, 3, 16, 16)
    kept = small().draw_filters(images)
    assert FrequencyHead()(images, images, kept)['loss'] == 0


def test_learns():
    torch.manual_seed(0)
    model = small()
    model.init_weights()
    images = noise(4, 3, 32, 32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = model.loss(images)['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None for p in model.parameters())
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


@pytest.mark.parametrize('fields, message', [(dict(low_pass=2.), 'low_pass'),
                                             (dict(radius=0.), 'radius')])
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        small(**fields)


def test_bad_gamma_and_shapes_are_named():
    with pytest.raises(ValueError, match='gamma'):
        FrequencyHead(0)
    with pytest.raises(ValueError, match='differ in shape'):
        FrequencyHead()(noise(1, 3, 8, 8), noise(1, 3, 8, 16), torch.ones(1, 1, 8, 9).bool())
