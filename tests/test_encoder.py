"""mmwamim.load_encoder: values against the stock networks, Pillow, and each other."""
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.models import SwinTransformer, VisionTransformer
from PIL import Image

import mmwamim
from mmwamim.errors import UserError
from tests.support.commands import ROOT
from tests.support.models import noise, save_encoder

QUICK = 'configs/quickstart/vit_tiny_pretrain.py'
SWIN = 'configs/wamim/swin_b_100e.py'
TINY_SWIN = dict(arch=dict(embed_dims=32, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8]))
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('run') / 'encoder.pth'
    save_encoder(path, QUICK)
    return path


def picture(height=90, width=120, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (height // 6, width // 6, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height))


def by_pillow(image, size):
    """Resized, cropped and normalised with Pillow and numpy alone: (1, 3, size, size)."""
    side = round(size * 8 / 7)
    scale = side / min(image.size)
    image = image.resize([round(length * scale) for length in image.size], Image.BICUBIC)
    left, top = (round((length - size) / 2) for length in image.size)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float64)
    return torch.tensor((pixels - MEAN) / STD).permute(2, 0, 1)[None].float()


def test_preprocess_is_resize_crop_and_normalisation(checkpoint):
    encoder, image = mmwamim.load_encoder(checkpoint), picture()
    expected = by_pillow(image, encoder.size)
    assert encoder.size == 64 and expected.shape == (1, 3, 64, 64)
    pixels = np.asarray(image)
    channels_first = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    for form in (image, pixels, channels_first, channels_first / 255, channels_first[None]):
        torch.testing.assert_close(encoder.preprocess(form), expected, rtol=0, atol=1e-5)
    both = encoder.preprocess([image, picture(64, 64, 1)])
    assert both.shape == (2, 3, 64, 64)
    torch.testing.assert_close(both[:1], expected, rtol=0, atol=1e-5)
    grey = image.convert('L')
    torch.testing.assert_close(encoder.preprocess(np.asarray(grey)),
                               encoder.preprocess(grey.convert('RGB')), rtol=0, atol=0)


def test_features_are_those_of_the_stock_vit(checkpoint):
    encoder, images = mmwamim.load_encoder(checkpoint), noise(2, 3, 64, 64)
    arch = Config.fromfile(ROOT / QUICK).model.backbone
    stock = VisionTransformer(arch=dict(arch.arch), img_size=64, patch_size=arch.patch_size,
                              out_type='featmap', out_indices=list(arch.out_indices))
    stock.load_state_dict(
        {name.removeprefix('backbone.'): value for name, value in torch.load(checkpoint)[
            'state_dict'].items()}, strict=True)
    stock.eval()
    with torch.no_grad():
        expected = stock(images)
    features = encoder.features(images)
    assert len(features) == len(arch.out_indices) and features[-1].std() > 0.3
    for ours, theirs in zip(features, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    torch.testing.assert_close(encoder(images), expected[-1].mean((2, 3)), rtol=0, atol=1e-5)


def test_features_are_those_of_the_stock_swin(tmp_path):
    save_encoder(tmp_path / 'encoder.pth', SWIN, **TINY_SWIN)
    encoder, images = mmwamim.load_encoder(tmp_path / 'encoder.pth'), noise(1, 3, 224, 224)
    stock = SwinTransformer(arch=TINY_SWIN['arch'], window_size=7, out_indices=(0, 1, 2, 3))
    stock.load_state_dict(
        {name.removeprefix('backbone.'): value for name, value in torch.load(
            tmp_path / 'encoder.pth')['state_dict'].items()}, strict=True)
    stock.eval()
    with torch.no_grad():
        expected = stock(images)
    for ours, theirs in zip(encoder.features(images), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    torch.testing.assert_close(encoder(images), expected[-1].mean((2, 3)), rtol=0, atol=1e-5)


def test_embedding_files_is_preprocessing_and_encoding(checkpoint, tmp_path):
    encoder, images = mmwamim.load_encoder(checkpoint), [picture(seed=s) for s in range(3)]
    paths = [tmp_path / f'{name}.png' for name in 'cab']
    for image, path in zip(images, paths):
        image.save(path)
    expected = encoder(encoder.preprocess(images)).numpy()
    assert encoder.embed(paths, batch_size=2).dtype == np.float32
    np.testing.assert_allclose(encoder.embed(paths, batch_size=2), expected, rtol=0, atol=1e-5)
    in_order = encoder.embed(tmp_path)
    np.testing.assert_allclose(in_order, expected[[1, 2, 0]], rtol=0, atol=1e-5)
    for one in (str(paths[0]), bytes(paths[0]), [bytes(paths[0])], (path for path in paths[:1])):
        np.testing.assert_allclose(encoder.embed(one), expected[:1], rtol=0, atol=1e-5)
    with tarfile.open(tmp_path / 'x.tar', 'w') as shard:
        for path in paths:
            shard.add(path, path.name)
    found = encoder.embed(tmp_path / 'x.tar', workers=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_it_is_a_module_in_eval_mode_that_can_be_trained(checkpoint):
    encoder = mmwamim.load_encoder(checkpoint)
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert encoder.train() is encoder and encoder.backbone.training
    assert encoder.eval() is encoder and not encoder.backbone.training
    exact = encoder(encoder.preprocess(picture()))
    images = encoder.bfloat16().preprocess(picture())
    assert images.dtype == torch.bfloat16
    torch.testing.assert_close(encoder(images), exact, rtol=0, atol=0.1)
    encoder.float().requires_grad_()
    encoder(noise(1, 3, 64, 64)).sum().backward()
    assert encoder.backbone.patch_embed.projection.weight.grad.abs().sum() > 0


def test_a_masked_autoencoder_of_mmpretrain_is_not_masked(tmp_path):
    """Its forward pass hides three quarters at random unless it is told not to."""
    save_encoder(tmp_path / 'encoder.pth', 'configs/baselines/mae_vit_b_1600e.py',
         arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64), img_size=32)
    encoder, images = mmwamim.load_encoder(tmp_path / 'encoder.pth'), noise(1, 3, 32, 32)
    assert torch.equal(encoder(images), encoder(images))
    assert encoder.features(images)[-1].shape == (1, 32, 2, 2)


@pytest.mark.parametrize('wrong, words', [
    ('cat.jpg', 'files go to encoder.embed'),
    (np.zeros((9, 9, 3)), 'float64 is no image'),
    (np.zeros((9, 9, 5), np.uint8), r'not of the shape \(9, 9, 5\)'),
    (torch.full((3, 9, 9), 2.), 'between 0 and 1, not 2 to 2'),
    (torch.full((3, 9, 9), torch.nan), 'between 0 and 1, not nan to nan'),
    ([], 'the list is empty')])
def test_what_is_no_image_is_named(checkpoint, wrong, words):
    with pytest.raises(UserError, match=words):
        mmwamim.load_encoder(checkpoint).preprocess(wrong)


def test_batches_and_generators_are_preprocessed_as_lists(checkpoint):
    encoder, images = mmwamim.load_encoder(checkpoint), [picture(seed=s) for s in range(2)]
    expected = encoder.preprocess(images)
    for several in (np.stack(images), iter(images), tuple(images)):
        torch.testing.assert_close(encoder.preprocess(several), expected, rtol=0, atol=0)


def test_images_of_another_precision_are_named(checkpoint):
    encoder = mmwamim.load_encoder(checkpoint)
    for images in (noise(1, 3, 64, 64).double(), noise(1, 3, 64, 64).half()):
        with pytest.raises(UserError, match=r'does not go .* of torch.float32 .* images.to\('):
            encoder(images)
    with torch.autocast('cpu', torch.bfloat16):  # which casts
        assert encoder(noise(1, 3, 64, 64).half()).isfinite().all()


def test_mistakes_with_files_are_named(checkpoint, tmp_path):
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    with pytest.raises(UserError, match='broken.jpg'):
        mmwamim.load_encoder(checkpoint).embed(tmp_path)
    picture().save(tmp_path / 'whole.png')
    (tmp_path / 'part.png').write_bytes((tmp_path / 'whole.png').read_bytes()[:2000])
    with pytest.raises(UserError, match='images: .*part.png cannot be read: .*truncated'):
        mmwamim.load_encoder(checkpoint).preprocess(Image.open(tmp_path / 'part.png'))
    for wrong in (picture(), [picture()], np.asarray(picture()), noise(3, 9, 9), 3, None):
        with pytest.raises(UserError, match=r'^paths: .*, not \w+; pictures go to encoder\(enc'):
            mmwamim.load_encoder(checkpoint).embed(wrong)
    with pytest.raises(UserError, match='the list or folder is empty'):
        mmwamim.load_encoder(checkpoint).embed([])
    with pytest.raises(UserError, match='no checkpoint .*nowhere.pth'):
        mmwamim.load_encoder('nowhere.pth')
    whole = checkpoint.read_bytes()
    (tmp_path / 'part.pth').write_bytes(whole[:len(whole) // 2])
    torch.save(torch.nn.Linear(2, 2), tmp_path / 'module.pth')
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / 'foreign.pth')
    for name, words in (('part', 'or only a part of one$'), ('foreign', 'begin a run, with init'),
                        ('module', r'more than data \(GLOBAL torch.nn.modules.linear.Linear\): ')):
        with pytest.raises(UserError, match=words):
            mmwamim.load_encoder(tmp_path / f'{name}.pth')


def test_importing_the_package_does_not_import_torch():
    code = 'import sys, mmwamim; assert "torch" not in sys.modules; print(dir(mmwamim))'
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 0 and 'load_encoder' in out.stdout, out.stderr
    with pytest.raises(AttributeError, match='no attribute'):
        print(mmwamim.nothing)
