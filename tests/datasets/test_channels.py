"""Pictures of any number of channels, from files to a settled config and a step of training."""
import io

import numpy as np
import pytest
import tifffile
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from PIL import Image

from mmwamim.datasets import LoadChannels
from mmwamim.datasets.channels import read_channels
from mmwamim.datasets.loading import UnreadableImage
from mmwamim.engine.config.channel_data import settle_channels
from mmwamim.engine.config.data import settle_data
from mmwamim.engine.export.programs import to_program
from mmwamim.errors import UserError
from mmwamim.evaluation.features import LabelledImages, extract_features
from tests.support.commands import ROOT


def values(channels, kind=np.uint16, height=5, width=7, seed=0):
    return (np.random.default_rng(seed).random((height, width, channels)) * 3000).astype(kind)


@pytest.mark.parametrize('channels', [1, 4, 12])
def test_every_layout_has_the_same_values(tmp_path, channels):
    image = values(channels)
    first = np.moveaxis(image, -1, 0)
    np.save(tmp_path / 'last.npy', image)
    np.save(tmp_path / 'first.npy', first)
    tifffile.imwrite(tmp_path / 'pages.tif', first, photometric='minisblack')
    with tifffile.TiffWriter(tmp_path / 'apart.tif') as writer:
        for page in first:
            writer.write(page, contiguous=False)
    for planar in ('contig', 'separate') if channels > 1 else ():
        tifffile.imwrite(tmp_path / f'{planar}.tif', image if planar == 'contig' else first,
                         photometric='minisblack', planarconfig=planar)
    for path in tmp_path.iterdir():
        found = read_channels(path, channels)
        assert found.dtype == np.float32 and np.array_equal(found, image), path
        assert np.array_equal(read_channels('key', channels, data=path.read_bytes()), image)
    eight = read_channels(path, channels, (0, 3000))
    assert eight.dtype == np.uint8
    assert np.abs(eight - image / 3000. * 255).max() <= 0.5001
    results = LoadChannels(channels).transform(dict(img_path=str(path)))
    assert results['img_shape'] == (5, 7)


def test_ordinary_pictures_and_their_number_of_channels(tmp_path):
    image = values(4, np.uint8)
    Image.fromarray(image).save(tmp_path / 'x.png')
    Image.fromarray(image[..., 0]).save(tmp_path / 'grey.png')
    assert np.array_equal(read_channels(tmp_path / 'x.png', 4), image)
    assert read_channels(tmp_path / 'grey.png', 1).dtype == np.uint8
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image[..., 0]).save(tmp_path / 'turned.png', exif=exif)
    assert np.array_equal(read_channels(tmp_path / 'turned.png', 1)[..., 0],
                          np.rot90(image[..., 0], -1))


@pytest.mark.parametrize('make, words', [
    (lambda: values(3), '3 channels, not 4 channels'),
    (lambda: values(1)[..., 0], '1 channel, not 4 channels'),
    (lambda: np.full((4, 4, 4), np.nan), 'no finite numbers'),
    (lambda: values(4).astype(np.float32) / 0., 'no finite numbers'),
    (lambda: np.zeros((0, 5, 4)), '5x0 pixels'),
    (lambda: np.zeros((4, 4, 4), complex), 'numbers of type complex128'),
    (lambda: np.array([[None]]), 'allow_pickle|Object arrays'),
    (lambda: values(4, height=2000, width=2000), '2000x2000 pixels are more than')])
def test_what_is_refused_is_named(tmp_path, make, words):
    np.save(tmp_path / 'x.npy', make(), allow_pickle=True)
    with pytest.raises(UnreadableImage, match=f'x.npy.*({words})'):
        read_channels(tmp_path / 'x.npy', 4, max_pixels=10**6)
    (tmp_path / 'x.npy').write_bytes((tmp_path / 'x.npy').read_bytes()[:90])
    with pytest.raises(UnreadableImage, match='x.npy'):
        read_channels(tmp_path / 'x.npy', 4)


@pytest.fixture(params=[1, 4, 12])
def stacks(request, tmp_path):
    """(channels, a folder with two classes of NumPy and TIFF files)."""
    for split in ('train', 'val'):
        for kind in ('a', 'b'):
            (tmp_path / split / kind).mkdir(parents=True)
            for i in range(3):
                image = values(request.param, height=40, width=44, seed=i)
                np.save(tmp_path / split / kind / f'{i}.npy', image)
        tifffile.imwrite(tmp_path / split / 'b/3.tif', np.moveaxis(image, -1, 0),
                         photometric='minisblack')
    return request.param, tmp_path


def channel_config(path, channels, **fields):
    cfg = Config.fromfile(ROOT / path)
    cfg.merge_from_dict(dict(channels=channels, **fields))
    for part in (cfg.data_preprocessor, cfg.model.get('data_preprocessor')):
        if part is not None:
            part.update(mean=[1500.] * channels, std=[900.] * channels)
    return cfg


def batch_of(cfg, count=2):
    init_default_scope('mmpretrain')
    images = DATASETS.build(cfg.train_dataloader.dataset)
    items = [images[i] for i in range(count)]
    return dict(inputs=torch.stack([item['inputs'] for item in items]),
                data_samples=[item['data_samples'] for item in items])


def test_a_step_of_pretraining_and_probing(stacks):
    channels, root = stacks
    cfg = channel_config('configs/quickstart/vit_tiny_pretrain.py', channels)
    settle_data(cfg, str(root / 'train'))
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    batch = batch_of(cfg)
    assert batch['inputs'].shape == (2, channels, 64, 64)
    data = model.data_preprocessor(batch, True)
    assert torch.allclose(data['inputs'], (batch['inputs'] - 1500.) / 900.)
    losses = model(**data, mode='loss')
    sum(value for name, value in losses.items() if name.startswith('loss')).backward()
    assert model.backbone.patch_embed.projection.weight.grad.shape[1] == channels
    probe = LabelledImages(str(root), 64, split='val', channels=channels)
    assert len(probe) == 7 and probe[0]['inputs'].shape == (channels, 64, 64)
    assert probe.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    features, labels = extract_features(model.backbone, model.data_preprocessor, probe, 4)
    assert features.shape == (7, 128) and labels.tolist() == probe.labels.tolist()


def test_a_step_of_fine_tuning_and_the_program_of_its_encoder(stacks, capsys):
    channels, root = stacks
    cfg = channel_config('configs/classification/vit_b_ft_100e.py', channels)
    cfg.model.backbone.update(img_size=32, patch_size=16, arch=dict(
        embed_dims=24, num_layers=1, num_heads=2, feedforward_channels=48))
    cfg.model.head.in_channels = 24
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.pipeline[1].scale = 32
    settle_data(cfg, str(root))
    assert 'leaving out RandAugment' in capsys.readouterr().out
    fields = {name: value for name, value in cfg.model.items() if name != 'train_cfg'}
    preprocessor = dict(cfg.data_preprocessor, num_classes=2)
    fields['backbone'] = {k: v for k, v in fields['backbone'].items() if k != 'init_cfg'}
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(fields, data_preprocessor=preprocessor))
    model.init_weights()
    batch = batch_of(cfg)
    assert batch['inputs'].shape == (2, channels, 32, 32)
    data = model.data_preprocessor(batch, True)
    assert torch.allclose(data['inputs'], (batch['inputs'] - 1500.) / 900., atol=1e-5)
    model(**data, mode='loss')['loss'].backward()
    model.backbone.eval()
    program = to_program(model.backbone, (32, 32))
    images = torch.rand(2, channels, 32, 32)
    with torch.no_grad():
        expected = model.backbone(images)[-1]
    assert torch.allclose(program.module()(images), expected, atol=1e-5)


def test_what_does_not_fit_the_number_of_channels_is_named(tmp_path):
    np.save(tmp_path / 'x.npy', values(4))
    cfg = Config.fromfile(ROOT / 'configs/quickstart/vit_tiny_pretrain.py')
    cfg.channels = 4
    with pytest.raises(UserError, match='mean has 3 values for 4 channels: mmwamim statistics'):
        settle_data(cfg, str(tmp_path))
    cfg.channels = 0
    with pytest.raises(UserError, match='channels must be the number'):
        settle_data(cfg, str(tmp_path))
    buffer = io.BytesIO()
    np.save(buffer, values(4))
    assert read_channels('k', 4, data=buffer.getvalue()).shape == (5, 7, 4)


@pytest.mark.parametrize('fields, message', [
    ({'model.backbone.in_channels': 4}, 'model.backbone.in_channels is 4, but LoadImage of '
     'train_dataloader reads images of 3 channels: set channels=4'),
    ({'model.target_generator.in_channels': 4}, 'model.target_generator has in_channels=4 and '
     'model.backbone 3: set channels=N')])
def test_channels_that_do_not_fit_are_told_before_the_first_step(fields, message):
    cfg = Config.fromfile(ROOT / 'configs/quickstart/vit_tiny_pretrain.py')
    settle_channels(cfg)
    cfg.merge_from_dict(fields)
    with pytest.raises(UserError, match=message):
        settle_channels(cfg)
