"""Own data for segmentation, by value."""
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope
from PIL import Image

from mmwamim.datasets.label_maps import LoadLabelMap, read_label_map
from mmwamim.datasets.listing import NoImages
from mmwamim.datasets.loading import UnreadableImage
from mmwamim.engine.config.data import settle_data
from mmwamim.errors import UserError
from tests.support.commands import ROOT

pytest.importorskip('mmseg')
SEGMENTATION = 'configs/segmentation/upernet_vit_b_160k_ade20k_512x512.py'


def settled(path, root, **changes):
    cfg = Config.fromfile(ROOT / path)
    cfg.merge_from_dict(changes)
    settle_data(cfg, str(root))
    return cfg


def write_labels(root, values, ending='.jpg', splits=('training', 'validation')):
    """A photograph and a label map of every value in the layout of ADE20K."""
    for split in splits:
        for kind in ('images', 'annotations'):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for number, value in enumerate(values):
            labels = np.full((48, 64), value, np.uint8)
            labels[:10] = 255
            Image.fromarray(np.full((48, 64, 3), 90 + number, np.uint8)).save(
                root / f'images/{split}/{number}{ending}')
            Image.fromarray(labels).save(root / f'annotations/{split}/{number}.png')
    return root


@pytest.mark.parametrize('ending', ['.jpg', '.png', '.JPG', '.webp'])
def test_own_classes_and_photographs_of_any_ending(tmp_path, ending):
    root = write_labels(tmp_path, (0, 1, 2), ending)
    (root / 'classes.txt').write_text('sky\ntraffic light\nWiese\n')
    cfg = settled(SEGMENTATION, root)
    assert cfg.model.decode_head.num_classes == cfg.model.auxiliary_head.num_classes == 3
    for name in ('train', 'val', 'test'):
        dataset = DATASETS.build(dict(cfg[f'{name}_dataloader'].dataset, pipeline=[
            dict(type='mmwamim.LoadImage'), dict(type='mmwamim.LoadLabelMap', num_classes=3)]))
        assert dataset.metainfo['classes'] == ('sky', 'traffic light', 'Wiese')
        assert len(dataset.metainfo['palette']) == 3 and len(dataset) == 3
        for number in range(3):
            item = dataset[number]
            assert (item['gt_seg_map'][10:] == number).all()
            assert (item['gt_seg_map'][:10] == 255).all()
            assert abs(int(item['img'].mean()) - 90 - number) <= 2


def test_the_classes_of_ade20k_without_a_list(tmp_path):
    cfg = settled(SEGMENTATION, write_labels(tmp_path, (0, 1, 150)))
    dataset = cfg.train_dataloader.dataset
    assert dataset.reduce_zero_label and dataset.classes[:2] == ['wall', 'building']
    item = DATASETS.build(dict(dataset, pipeline=[
        dict(type='mmwamim.LoadImage'), dict(type='mmwamim.LoadLabelMap', num_classes=150)]))
    assert [int(item[i]['gt_seg_map'][20, 20]) for i in range(3)] == [255, 0, 149]


def test_label_maps_that_do_not_fit_are_named_before_the_run(tmp_path):
    root = write_labels(tmp_path, (0, 1, 7))
    (root / 'classes.txt').write_text('sky\nroad\n')
    with pytest.raises(UserError, match=r'annotations/training/2.png has the label 7, but there '
                                        'are 2 classes: labels are 0 to 1, 255 is ignored'):
        settled(SEGMENTATION, root)
    write_labels(root, (0, 1, 1))
    colours = np.zeros((48, 64, 3), np.uint8)
    Image.fromarray(colours).save(root / 'annotations/validation/1.png')
    with pytest.raises(UserError, match=r'validation/1.png holds colours .* one channel'):
        settled(SEGMENTATION, root)
    Image.fromarray(np.zeros((50, 64), np.uint8)).save(root / 'annotations/validation/1.png')
    with pytest.raises(UserError, match='images/validation/1.jpg is 64x48 pixels, but its annotat'
                                        'ion is of 64x50'):
        settled(SEGMENTATION, root)
    for path in (root / 'annotations/validation').iterdir():
        path.rename(path.with_name(f'mask_{path.name}'))
    with pytest.raises(NoImages, match="no photograph has a label map of its name: .*'0.jpg', "
                                       r"'1.jpg', ... \(3 in all\); .*'mask_0.png'"):
        settled(SEGMENTATION, root)
    (root / 'annotations/validation').rename(root / 'annotations/other')
    with pytest.raises(NoImages, match="no folder 'annotations/validation'; beside it: 'other'"):
        settled(SEGMENTATION, root)


def test_masks_of_0_and_255_and_jpeg_label_maps(tmp_path):
    """255 is ignored: one class would be left, and nothing learnt."""
    root = write_labels(tmp_path, [0] * 25)
    (root / 'classes.txt').write_text('background\nobject\n')
    with pytest.raises(UserError, match='every label map in .*annotations/training holds 0 and 255 '
                                        'alone, and 255 is ignored: nothing could be learnt'):
        settled(SEGMENTATION, root)
    labels = np.zeros((48, 64), np.uint8)
    labels[20, 20] = 1
    Image.fromarray(labels).save(root / 'annotations/training/23.png')  # seen by nobody at first
    settled(SEGMENTATION, root)
    (root / 'annotations/training/0.png').unlink()
    Image.fromarray(labels).save(root / 'annotations/training/0.jpg')
    with pytest.raises(UserError, match='training/0.jpg is a JPEG, which changes labels'):
        settled(SEGMENTATION, root)


def test_lists_of_classes_that_differ_and_that_are_missing(tmp_path):
    root = write_labels(tmp_path, (0, 1))
    mine = dict(type='BaseSegDataset', metainfo=dict(classes=['a', 'b']), reduce_zero_label=False)
    both = {f'{name}_dataloader': dict(dataset=mine) for name in ('train', 'val', 'test')}
    assert settled(SEGMENTATION, root, **both).model.decode_head.num_classes == 2
    (root / 'annotations/classes.txt').write_text('a\nc\n')
    with pytest.raises(UserError, match="has the classes 'a', 'c', but the config has 'a', 'b'"):
        settled(SEGMENTATION, root, **both)
    cfg = Config.fromfile(ROOT / SEGMENTATION)
    with pytest.raises(UserError, match="'a', 'c', but those of the checkpoint are 'a', 'd'"):
        settle_data(cfg, str(root), ['a', 'd'])
    (root / 'annotations/classes.txt').unlink()
    for name in both:
        both[name]['dataset'] = dict(type='BaseSegDataset')
    with pytest.raises(UserError, match='are not known: name them in .*classes.txt, one a line'):
        settled(SEGMENTATION, root, **both)


def test_label_maps_of_every_mode(tmp_path):
    values = np.array([[0, 1, 2], [255, 1, 0]], np.uint8)
    palette = Image.fromarray(values, 'P')
    palette.putpalette(list(range(256)) * 3)
    palette.save(tmp_path / 'p.png')
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / 'w.png')
    Image.fromarray(values > 0).save(tmp_path / 'bits.png')
    for name in ('p.png', 'w.png'):
        assert np.array_equal(read_label_map(tmp_path / name, 3), values)
        assert read_label_map(tmp_path / name, 2, reduce_zero_label=True).tolist() == [
            [255, 0, 1], [255, 0, 255]]
    assert read_label_map(tmp_path / 'bits.png', 2).tolist() == [[0, 1, 1], [1, 1, 0]]
    Image.fromarray(np.array([[300]], np.uint16)).save(tmp_path / 'w.png')
    with pytest.raises(UserError, match='w.png has the label 300'):  # not 300 - 256
        read_label_map(tmp_path / 'w.png', 150)
    (tmp_path / 'w.png').write_bytes(b'nothing')
    with pytest.raises(UnreadableImage, match='w.png'):
        read_label_map(tmp_path / 'w.png', 150)


def test_the_label_reader_agrees_with_mmsegs(tmp_path):
    from mmseg.datasets.transforms import LoadAnnotations
    values = np.random.default_rng(0).integers(0, 150, (7, 9), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / 'x.png')
    for reduce in (False, True):
        for mapped in (None, {3: 255, 5: 1}):
            both = []
            for step in (LoadAnnotations(), LoadLabelMap(150)):
                both.append(step.transform(dict(
                    seg_map_path=str(tmp_path / 'x.png'), reduce_zero_label=reduce, seg_fields=[],
                    label_map=mapped, ori_shape=(7, 9)))['gt_seg_map'])
            assert np.array_equal(*both), (reduce, mapped)


@pytest.mark.parametrize('turned', ['upright', 'stored'])
def test_label_maps_of_photographs_that_exif_turns(tmp_path, turned):
    upright = np.zeros((64, 48, 3), np.uint8)
    upright[:20, :15] = 255
    exif = Image.Exif()
    exif[0x0112] = 8
    for split in ('training', 'validation'):
        for kind in ('images', 'annotations'):
            (tmp_path / kind / split).mkdir(parents=True)
        Image.fromarray(np.rot90(upright, 3)).save(tmp_path / f'images/{split}/0.jpg', exif=exif,
                                                   quality=100)
        labels = (upright if turned == 'upright' else np.rot90(upright, 3))[..., 0] // 255
        Image.fromarray(labels).save(tmp_path / f'annotations/{split}/0.png')
    (tmp_path / 'classes.txt').write_text('dark\nlight\n')
    cfg = settled(SEGMENTATION, tmp_path)
    item = DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=[
        dict(type='mmwamim.LoadImage'), dict(type='mmwamim.LoadLabelMap', num_classes=2)]))[0]
    assert item['img'].shape[:2] == item['gt_seg_map'].shape == labels.shape
    assert ((item['img'][..., 0] > 128) == item['gt_seg_map']).all()


def tiny_upernet(cfg):
    """The config's model, small."""
    cfg.model.backbone.update(
        arch=dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32), img_size=64,
        out_indices=[0, 1, 2, 3], init_cfg=None)
    cfg.model.neck.update(embed_dim=16, norm_cfg=dict(type='BN'))
    cfg.model.decode_head.update(in_channels=[16] * 4, channels=16, norm_cfg=dict(type='BN'))
    cfg.model.auxiliary_head.update(in_channels=16, channels=16, norm_cfg=dict(type='BN'))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model)
    model.eval()
    return model


@pytest.mark.parametrize('size', [(64, 96), (50, 90), (33, 47)])
@pytest.mark.parametrize('mode', ['slide', 'whole'])
def test_sides_that_the_patch_does_not_divide(size, mode):
    """The prediction is that of the image padded by hand to whole cells of the coarsest map."""
    from mmseg.structures import SegDataSample
    cfg = Config.fromfile(ROOT / SEGMENTATION)
    cfg.model.test_cfg = dict(mode=mode, crop_size=(64, 64), stride=(32, 32)) \
        if mode == 'slide' else dict(mode=mode)
    model = tiny_upernet(cfg)
    image = torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(1),
                          dtype=torch.uint8)

    def predict(pixels):
        sample = SegDataSample(metainfo=dict(ori_shape=pixels.shape[1:], img_shape=tuple(
            pixels.shape[1:])))
        with torch.no_grad():
            return model.test_step(dict(inputs=[pixels], data_samples=[sample]))[0].seg_logits.data

    logits = predict(image)
    assert logits.shape[1:] == size
    padded = [-(-side // 32) * 32 for side in size]
    # The mean colour is what padding is after normalisation.
    by_hand = torch.empty(3, *padded)
    by_hand[:] = torch.tensor([103.53, 116.28, 123.675])[:, None, None]
    by_hand[:, :size[0], :size[1]] = image
    right = predict(by_hand)[:, :size[0], :size[1]]
    torch.testing.assert_close(logits, right, rtol=1e-4, atol=1e-5)


def test_other_crops_and_patches_are_padded_in_training_too(tmp_path):
    root = write_labels(tmp_path, (0, 1))
    (root / 'classes.txt').write_text('sky\nroad\n')
    cfg = settled(SEGMENTATION, root, model=dict(data_preprocessor=dict(size=(500, 330))))
    assert cfg.model.data_preprocessor.size == (512, 352)
    assert cfg.model.data_preprocessor.test_cfg.size_divisor == 32
    cfg = settled(SEGMENTATION, root, model=dict(backbone=dict(patch_size=14)))
    assert cfg.model.data_preprocessor.size == (672, 672)  # of 2 x 14 x 8 = 224
    assert cfg.model.data_preprocessor.test_cfg.size_divisor == 224
