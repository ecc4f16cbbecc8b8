"""Encoders of odd shapes leave for other libraries, which compute the same features."""
import numpy as np
import pytest
import timm
import torch
from mmengine.config import Config
from PIL import Image

import mmwamim
from mmwamim.commands.export import export
from mmwamim.errors import UserError
from mmwamim.registry import MODELS
from tests.support.models import noise, shake

ARCH = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64)
VIT = dict(type='mmwamim.MaskedViT', arch=ARCH, img_size=(16, 32), patch_size=8, out_indices=(0, 1),
           out_type='featmap')
COLOURS = dict(type='mmpretrain.SelfSupDataPreprocessor', mean=[123.675, 116.28, 103.53],
               std=[58.395, 57.12, 57.375], to_rgb=True)
SWIN = dict(type='mmwamim.SparseSwin', arch=dict(embed_dims=8, depths=[1, 2], num_heads=[1, 2]),
            img_size=(32, 64), window_size=4, out_indices=(0, 1))


def saved(path, backbone, **fields):
    torch.manual_seed(0)
    text = Config(dict(model=dict(type='mmwamim.WaMIM', backbone=backbone), **fields)).pretty_text
    state = shake(MODELS.build(dict(backbone)), 0.05).state_dict()
    torch.save(dict(meta=dict(config=text), state_dict={
        f'backbone.{name}': value for name, value in state.items()}), path)
    return path


def last_map(path, images):
    return mmwamim.load_encoder(path).features(images)[-1]


def computed(form, encoder, out, images):
    """Tokens (B, N, C) of what was exported, by the library that it was exported for."""
    done = export(encoder, form, out)
    if form == 'onnx':
        import onnxruntime
        session = onnxruntime.InferenceSession(str(out))
        maps = torch.from_numpy(session.run(None, dict(images=images.numpy()))[0])
    elif form == 'torch':
        maps = torch.export.load(out).module()(images)
    elif form == 'timm':
        model = eval(done.how_to_load, dict(timm=timm)).eval()
        tokens = model.forward_features(images)
        return tokens[:, model.num_prefix_tokens:] if tokens.dim() == 3 else tokens.flatten(1, 2)
    else:
        transformers = pytest.importorskip('transformers')
        model = eval(done.how_to_load, dict(transformers=transformers)).eval()
        tokens = model(images).last_hidden_state
        return tokens[:, 1:] if hasattr(model.embeddings, 'cls_token') else tokens
    return maps.flatten(2).transpose(1, 2)


@pytest.mark.parametrize('backbone, forms', [
    (VIT, ['timm', 'transformers', 'onnx', 'torch']),
    (dict(VIT, with_cls_token=False, in_channels=5), ['timm']),
    (SWIN, ['transformers'])])
def test_oblong_images(backbone, forms, tmp_path):
    path = saved(tmp_path / 'encoder.pth', backbone)
    images = noise(2, backbone.get('in_channels', 3), *backbone['img_size'])
    expected = last_map(path, images).flatten(2).transpose(1, 2)
    names = dict(timm='t.safetensors', transformers='folder', onnx='o.onnx', torch='p.pt2')
    for form in forms:
        with torch.no_grad():
            found = computed(form, path, tmp_path / form / names[form], images)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    if 'transformers' in forms:
        processor = pytest.importorskip('transformers').AutoImageProcessor.from_pretrained(
            tmp_path / 'transformers' / 'folder')
        pixels = processor(torch.zeros(3, 90, 70, dtype=torch.uint8), return_tensors='pt')
        assert pixels['pixel_values'].shape[2:] == backbone['img_size']


@pytest.mark.parametrize('height, width', [(90, 60), (45, 90), (40, 200)])
def test_pictures_for_an_oblong_encoder_just_cover_it(height, width, tmp_path):
    encoder = mmwamim.load_encoder(saved(tmp_path / 'encoder.pth', VIT, data_preprocessor=COLOURS))
    assert encoder.size == (16, 32)
    pixels = np.random.default_rng(0).integers(0, 255, (height // 5, width // 5, 3), np.uint8)
    image = Image.fromarray(pixels).resize((width, height))
    image.save(tmp_path / 'x.png')
    found = encoder.preprocess(image)
    scale = max(18 / height, 37 / width)  # 8 / 7 of the encoder's
    part = image.resize((int(width * scale + 1e-9), int(height * scale + 1e-9)), Image.BICUBIC)
    left, top = round((part.width - 32) / 2), round((part.height - 16) / 2)
    expected = torch.from_numpy(np.asarray(part.crop((left, top, left + 32, top + 16))).copy())
    expected = (expected - torch.tensor(COLOURS['mean'])) / torch.tensor(COLOURS['std'])
    torch.testing.assert_close(found[0], expected.permute(2, 0, 1))
    features = encoder(found).numpy()
    np.testing.assert_allclose(encoder.embed(tmp_path / 'x.png'), features, rtol=0, atol=1e-5)
    embedded = mmwamim.embed(tmp_path / 'encoder.pth', tmp_path / 'x.png', workers=0).features
    np.testing.assert_allclose(embedded, features, rtol=0, atol=1e-5)


@pytest.mark.parametrize('size, preprocessor', [
    (64, COLOURS), (32, dict(COLOURS, mean=[90., 127.5, 8.], std=[64., 32., 255.])),
    (96, dict(type='mmpretrain.SelfSupDataPreprocessor', to_rgb=True)), (200, COLOURS)])
def test_other_libraries_make_pictures_as_preprocess_does(size, preprocessor, tmp_path):
    path = saved(tmp_path / 'encoder.pth', dict(VIT, img_size=size), data_preprocessor=preprocessor)
    encoder = mmwamim.load_encoder(path)
    model = eval(export(path, 'timm', tmp_path / 'x.pth').how_to_load, dict(timm=timm))
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    export(path, 'transformers', tmp_path / 'hub')
    rng, levels = np.random.default_rng(0), 2.01 / min(preprocessor.get('std', [1]))
    for height, width in ((62, 40), (40, 62), (301, 211), (size, size), (20, 500), (87, 40)):
        image = Image.fromarray(rng.integers(0, 255, (height, width, 3), np.uint8))
        expected = encoder.preprocess(image)
        torch.testing.assert_close(transform(image)[None], expected, rtol=1e-5, atol=1e-5)
        if height == 87:  # which leaves 3, 7, 11, ... rows around the crop for one of the sizes
            continue
        for backend, off in (('pil', 1e-5), ('torchvision', levels)):
            processor = pytest.importorskip('transformers').AutoImageProcessor.from_pretrained(
                tmp_path / 'hub', backend=backend)
            found = processor(image, return_tensors='pt')['pixel_values']
            torch.testing.assert_close(found.float(), expected, rtol=1e-5, atol=off)


def test_the_processor_of_an_oblong_encoder_gives_what_preprocess_gives(tmp_path):
    transformers = pytest.importorskip('transformers')
    path = saved(tmp_path / 'encoder.pth', VIT, data_preprocessor=COLOURS)
    export(path, 'transformers', tmp_path / 'hub')
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / 'hub')
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 18, 3), np.uint8)).resize(
        (185, 90))  # of the shape of 18 x 37, which 8 / 7 of 16 x 32 are
    theirs = processor(image, return_tensors='pt')['pixel_values']
    torch.testing.assert_close(theirs, mmwamim.load_encoder(path).preprocess(image), rtol=0,
                               atol=0.04)  # two steps of 8 bits
    assert 'just cover 18x37 px' in (tmp_path / 'hub' / 'README.md').read_text()


def test_a_swin_that_timm_would_shift_otherwise(tmp_path):
    path = saved(tmp_path / 'encoder.pth', SWIN)
    with pytest.raises(UserError, match='stage 1 has windows of 4 in a grid of 4x8; export it to'):
        export(path, 'timm', tmp_path / 'x.safetensors')


def test_a_masked_autoencoder_of_mmpretrain_is_exported_and_embeds_unmasked(tmp_path):
    path = saved(tmp_path / 'encoder.pth', dict(type='mmpretrain.MAEViT', arch=ARCH, img_size=32,
                                                patch_size=8))
    images = noise(2, 3, 32, 32)
    expected = last_map(path, images)
    found = computed('torch', path, tmp_path / 'p.pt2', images)
    torch.testing.assert_close(found, expected.flatten(2).transpose(1, 2), rtol=0, atol=1e-5)
    (tmp_path / 'images').mkdir()
    for number in range(2):
        Image.new('RGB', (40, 40), (90 * number, 60, 9)).save(tmp_path / f'images/{number}.png')
    found = mmwamim.embed(path, tmp_path / 'images', workers=0).features
    np.testing.assert_allclose(found, mmwamim.load_encoder(path).embed(tmp_path / 'images'),
                               rtol=0, atol=1e-5)


def test_other_networks_are_named(tmp_path):
    path = saved(tmp_path / 'encoder.pth', dict(type='mmpretrain.ResNet', depth=18))
    with pytest.raises(UserError, match='is a ResNet: here are Vision and Swin'):
        mmwamim.load_encoder(path)


def test_pictures_of_other_channels_are_preprocessed_as_their_files(tmp_path):
    mean, std = [10., 20., 30., 40., 50.], [1., 2., 3., 4., 5.]
    path = saved(tmp_path / 'encoder.pth', dict(VIT, img_size=32, in_channels=5), channels=5,
                 data_preprocessor=dict(type='mmwamim.ImagePreprocessor', mean=mean, std=std))
    encoder = mmwamim.load_encoder(path)
    pixels = np.random.default_rng(0).normal(30, 5, (37, 37, 5)).astype(np.float32)
    np.save(tmp_path / 'x.npy', pixels)
    channels_first = torch.from_numpy(pixels).permute(2, 0, 1)
    for form in (pixels, channels_first, channels_first[None]):
        images = encoder.preprocess(form)
        assert images.shape == (1, 5, 32, 32)
        np.testing.assert_allclose(encoder(images), encoder.embed(tmp_path / 'x.npy'), rtol=0,
                                   atol=1e-5)
    cropped = (pixels[2:34, 2:34] - mean) / std  # 37 px are 8 / 7 of 32: nothing to resize
    np.testing.assert_allclose(images[0].permute(1, 2, 0), cropped, rtol=0, atol=1e-4)
    with pytest.raises(UserError, match='3 channels, not 5 channels'):
        encoder.preprocess(pixels[..., :3])
