"""Own data for detection, by value."""
import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, DefaultScope
from PIL import Image

from mmwamim.datasets.annotations import category_ids, check_coco, read_coco
from mmwamim.datasets.listing import NoImages
from mmwamim.engine.config.data import settle_data
from mmwamim.errors import UserError
from tests.support.commands import ROOT
from tests.support.small_data import scene

pytest.importorskip('mmdet')
DETECTION = 'configs/detection/mask_rcnn_vit_b_sfp_3x_coco.py'


def write_coco(root, split, categories, labels, **changes):
    """One image a label, with one box; ``categories`` are (id, name) in the order of the file."""
    folder = root / f'{split}2017'
    folder.mkdir(parents=True, exist_ok=True)
    (root / 'annotations').mkdir(exist_ok=True)
    rng = np.random.default_rng(3)
    images, annotations = [], []
    for number, label in enumerate(labels):
        pixels, (x, y, w, h) = scene(rng, 64, 96)
        Image.fromarray(pixels).save(folder / f'{number}.jpg')
        images.append(dict(id=100 + number, file_name=f'{number}.jpg', width=96, height=64))
        annotations.append(dict(
            id=7 * number, image_id=100 + number, category_id=label, iscrowd=0, bbox=[x, y, w, h],
            area=w * h, segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]]))
    content = dict(images=images, annotations=annotations, categories=[
        dict(id=number, name=name) for number, name in categories], **changes)
    path = root / f'annotations/instances_{split}2017.json'
    path.write_text(json.dumps(content))
    return path, content


OWN = [(5, 'Kühe'), (0, 'stop sign'), (9, 'ant')]


@pytest.fixture
def coco(tmp_path):
    write_coco(tmp_path, 'train', OWN, [5, 0, 9, 9])
    # Another order, other ids, a class missing.
    write_coco(tmp_path, 'val', [(1, 'ant'), (2, 'Kühe')], [2, 1])
    return tmp_path


def settled(path, root, **changes):
    cfg = Config.fromfile(ROOT / path)
    cfg.merge_from_dict(changes)
    settle_data(cfg, str(root))
    return cfg


def labels_of(cfg, name):
    dataset = dict(cfg[f'{name}_dataloader'].dataset, pipeline=[])
    with DefaultScope.overwrite_default_scope('mmdet'):
        built = DATASETS.build(dataset)
    classes = built.metainfo['classes']
    return [[classes[i['bbox_label']] for i in built.get_data_info(k)['instances']]
            for k in range(len(built))], built


def test_own_categories_are_taken_from_the_annotation_file(coco, capsys):
    cfg = settled(DETECTION, coco)
    assert cfg.model.roi_head.bbox_head.num_classes == 3
    assert cfg.model.roi_head.mask_head.num_classes == 3
    train, built = labels_of(cfg, 'train')
    assert built.metainfo['classes'] == ['Kühe', 'stop sign', 'ant']
    assert train == [['Kühe'], ['stop sign'], ['ant'], ['ant']]
    val, built = labels_of(cfg, 'val')
    assert built.metainfo['classes'] == ['Kühe', 'stop sign', 'ant']
    assert val == [['Kühe'], ['ant']]  # by name, though the file has another order
    out = capsys.readouterr().out
    assert '4 images and 4 annotations of 3 categories' in out
    assert "no category of 1 of 3 classes: 'stop sign'" in out


def test_the_metric_counts_by_name_too(coco):
    """Perfect predictions of every annotation score 1, in whatever order the file names classes."""
    cfg = settled(DETECTION, coco)
    assert cfg.val_evaluator.type == 'mmwamim.CocoInstanceMetric'
    assert cfg.val_evaluator.ann_file == str(coco / 'annotations/instances_val2017.json')
    metric = METRICS.build(dict(cfg.val_evaluator, metric='bbox', classwise=True))
    metric.dataset_meta = dict(classes=['Kühe', 'stop sign', 'ant'])
    for number, (label, annotation) in enumerate(zip((0, 2), read_coco(
            coco / 'annotations/instances_val2017.json')['annotations'])):
        x, y, w, h = annotation['bbox']
        metric.process({}, [dict(img_id=100 + number, ori_shape=(64, 96), pred_instances=dict(
            bboxes=torch.tensor([[x, y, x + w, y + h]]).float(), scores=torch.ones(1),
            labels=torch.tensor([label])))])
    scores = metric.evaluate(2)
    assert scores['coco/bbox_mAP'] == pytest.approx(1.)
    assert category_ids([dict(id=4, name='b'), dict(id=-2, name='a')], 'abcd') == [-2, 4, -5, -6]


def test_categories_that_do_not_agree_stop_with_both_lists(coco):
    write_coco(coco, 'val', [(1, 'bee'), (2, 'Kühe')], [2, 1])
    with pytest.raises(UserError, match="1 categories that the training set does not have: 'bee'. "
                                        "Its categories: 'bee', 'Kühe'; those of the training set:"
                                        " 'Kühe', 'stop sign', 'ant'"):
        settled(DETECTION, coco)
    named = dict(train_dataloader=dict(dataset=dict(metainfo=dict(classes=['ant', 'cow']))))
    with pytest.raises(UserError, match="the config has 1 categories .* does not have: 'cow'. .*"
                                        "'ant', 'cow'; those of .*'Kühe', 'stop sign', 'ant'"):
        settled(DETECTION, coco, **named)


def test_files_that_leave_out_what_only_the_metric_needs(coco):
    """pycocotools ends with a KeyError where ``iscrowd`` is missing."""
    path = coco / 'annotations/instances_val2017.json'
    content = json.loads(path.read_text())
    for annotation in content['annotations']:
        del annotation['iscrowd']
    path.write_text(json.dumps(content))
    test_the_metric_counts_by_name_too(coco)


def test_run_lengths_and_file_names_with_folders(coco):
    (coco / 'train2017/deep er').mkdir()
    (coco / 'train2017/1.jpg').rename(coco / 'train2017/deep er/1.jpg')
    path = coco / 'annotations/instances_train2017.json'
    content = json.loads(path.read_text())
    content['images'][1].update(file_name='deep er/1.jpg')
    content['annotations'][1].update(iscrowd=1, segmentation=dict(
        counts=[64 * 10, 64 * 20, 64 * 66], size=[64, 96]))  # columns 10 to 29
    path.write_text(json.dumps(content))
    cfg = settled(DETECTION, coco)
    steps = [dict(type='mmwamim.LoadImage'),
             dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
    with DefaultScope.overwrite_default_scope('mmdet'):
        item = DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=steps))[1]
    mask = item['gt_masks'].masks[0]
    assert mask.shape == (64, 96) and mask[:, 10:30].all() and mask.sum() == 64 * 20
    assert item['gt_ignore_flags'].tolist() == [True]


def test_several_metrics_and_a_test_set_without_annotations(coco):
    path, content = write_coco(coco, 'test', OWN, [5])
    del content['annotations']
    path.write_text(json.dumps(content))
    cfg = Config.fromfile(ROOT / DETECTION)
    cfg.test_dataloader.dataset.update(ann_file='annotations/instances_test2017.json',
                                       data_prefix=dict(img='test2017'))
    cfg.val_evaluator = [cfg.val_evaluator, dict(type='mmdet.DumpDetResults')]
    settle_data(cfg, str(coco))
    metric, other = cfg.val_evaluator
    assert metric.type == 'mmwamim.CocoInstanceMetric' and other.type == 'mmdet.DumpDetResults'
    assert metric.ann_file == str(coco / 'annotations/instances_val2017.json')
    path = coco / 'annotations/instances_val2017.json'
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="has no list 'annotations'"):
        settle_data(cfg, str(coco))


def test_data_sets_in_data_sets_are_settled_too(coco):
    cfg = Config.fromfile(ROOT / DETECTION)
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2,
                                        dataset=cfg.train_dataloader.dataset)
    settle_data(cfg, str(coco))
    inner = cfg.train_dataloader.dataset.dataset
    assert inner.type == 'mmwamim.CocoInstances' and len(inner.metainfo.classes) == 3
    assert cfg.model.roi_head.bbox_head.num_classes == 3


@pytest.mark.parametrize('change, message', [
    (lambda c: c.update(categories=['ant', 'cow']), "an entry of 'categories' has no 'fields'"),
    (lambda c: c['images'][1].update(width='96'), "has no 'width that is a number'"),
    (lambda c: c['annotations'][1].update(bbox=[1, 2, float('nan'), 4]), 'bbox of four numbers'),
    (lambda c: c['annotations'][1].update(category_id=[5]), 'category_id that is a number or'),
    (lambda c: c['annotations'][1].update(segmentation=[[1, 2, 3, 4]]),
     'segmentation of 1 annotations is neither .* id 7'),
    (lambda c: c['annotations'][1].update(segmentation=dict(size=[2, 2])), 'nor run lengths'),
    (lambda c: c['images'][1].update(id=100), r"1 ids are there twice in 'images', such as 100"),
    (lambda c: c['annotations'][1].update(id=0), "twice in 'annotations', such as 0"),
    (lambda c: c['annotations'][1].pop('area'), "an entry of 'annotations' has no 'area'"),
    (lambda c: c['annotations'][1].update(bbox=[1, 2]), "has no 'bbox of four numbers'"),
    (lambda c: c['images'][1].pop('width'), "an entry of 'images' has no 'width'"),
    (lambda c: c['annotations'][1].update(category_id=77), '1 of 4 annotations have an unknown '
                                                           'category_id, such as 77'),
    (lambda c: c['annotations'][1].update(image_id=3), 'unknown image_id, such as 3'),
    (lambda c: c['annotations'][1].update(segmentation=[]), 'no segmentation, but the config trai'),
    (lambda c: c['images'][1].update(file_name='x/1.jpg'), r"1 of 4 images .*train2017: 'x/1.jpg'"),
    (lambda c: c['images'][1].update(width=50), '96x64 pixels, but its annotation is of 50x64'),
    (lambda c: c['categories'][1].update(name='ant'), "names 'ant' twice"),
    (lambda c: c.update(categories=[], annotations=[]), 'names no category'),
    (lambda c: c.update(annotations=[]), 'no annotation to train on'),
    (lambda c: c.pop('images'), "has no list 'images'")])
def test_faults_of_an_annotation_file_are_named(coco, change, message):
    path = coco / 'annotations/instances_train2017.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        settled(DETECTION, coco)


def test_a_file_that_is_none_and_one_that_is_elsewhere(coco):
    path = coco / 'annotations/instances_train2017.json'
    path.write_text('{')
    with pytest.raises(UserError, match='instances_train2017.json is no JSON file'):
        settled(DETECTION, coco)
    path.rename(coco / 'annotations/mine.json')
    with pytest.raises(NoImages, match="beside it: 'instances_val2017.json', 'mine.json'. Name it"):
        settled(DETECTION, coco)


def test_what_is_left_out_of_an_annotation_file_is_counted(coco):
    path, content = write_coco(coco, 'train', OWN, [5, 0, 9])
    content['annotations'][0].update(bbox=[200, 0, 5, 5])
    content['annotations'][1].update(iscrowd=1)
    content['annotations'].pop()
    assert check_coco(path, content, coco / 'train2017') == (
        f'3 images and 2 annotations of 3 categories in {path}; without use: boxes without area or '
        'outside of their image 1, images without annotation 1')


@pytest.mark.parametrize('annotated', ['upright', 'stored'])
def test_boxes_on_photographs_that_exif_turns(coco, annotated):
    """A bright box in a photograph that is stored turned: the annotation's size says which."""
    upright = np.zeros((96, 64, 3), np.uint8)
    upright[10:30, 40:60] = 250  # x 40, y 10, 20 px
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.rot90(upright)
    Image.fromarray(stored).save(coco / 'train2017/0.jpg', exif=exif, quality=100)
    box, size = ([40, 10, 20, 20], (64, 96)) if annotated == 'upright' else (
        [10, 4, 20, 20], (96, 64))
    path = coco / 'annotations/instances_train2017.json'
    content = json.loads(path.read_text())
    content['images'][0].update(width=size[0], height=size[1])
    content['annotations'][0].update(bbox=box)
    path.write_text(json.dumps(content))
    cfg = settled(DETECTION, coco)
    dataset = dict(cfg.train_dataloader.dataset, pipeline=[
        dict(type='mmwamim.LoadImage'), dict(type='LoadAnnotations', with_bbox=True)])
    with DefaultScope.overwrite_default_scope('mmdet'):
        built = DATASETS.build(dataset)
        item = built[[built.get_data_info(i)['img_id'] for i in range(len(built))].index(100)]
    assert item['img'].shape[:2] == (size[1], size[0])
    x1, y1, x2, y2 = (round(v) for v in item['gt_bboxes'].numpy()[0])
    inside = item['img'][y1:y2, x1:x2]
    assert inside.shape == (20, 20, 3) and inside.mean() > 235
    outside = item['img'].astype(int).sum() - inside.astype(int).sum()
    assert outside / (item['img'].size - inside.size) < 5


def test_damaged_photographs_do_not_end_detection(coco):
    (coco / 'train2017/1.jpg').write_bytes(b'nothing')
    (coco / 'val2017/0.jpg').write_bytes(b'nothing')
    cfg = settled(DETECTION, coco)
    with DefaultScope.overwrite_default_scope('mmdet'):
        train = DATASETS.build(dict(cfg.train_dataloader.dataset, filter_cfg=None, pipeline=[
            dict(type='mmwamim.LoadImage')]))
        val = DATASETS.build(cfg.val_dataloader.dataset)
        assert train[1]['img_path'] != str(coco / 'train2017/1.jpg')
        item = val[0]
    assert item['data_samples'].img_id == 100 and not item['inputs'].any()
    assert item['data_samples'].ori_shape == (64, 96)
