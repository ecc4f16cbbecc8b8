"""Settles own data for detection and segmentation: classes, annotation files, label maps, sizes."""
import importlib
import math
import os
from pathlib import Path
from typing import List, Optional, Sequence, Set, Tuple

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from mmwamim.datasets.annotations import (
    category_names,
    check_classes,
    check_coco,
    check_size,
    read_coco,
)
from mmwamim.datasets.label_maps import CLASS_FILE, IGNORED, pair_by_name, read_label_map
from mmwamim.datasets.listing import NoImages, list_images, printable, shortened
from mmwamim.datasets.loading import UnreadableImage
from mmwamim.datasets.splits import find_split
from mmwamim.errors import UserError

from .loaders import LOADERS, data_sets, given_classes, metrics, say, settle_outputs
from .reading import type_name

COCO = ('CocoDataset', 'CocoInstances')
LABEL_MAPS = ('ADE20KDataset', 'BaseSegDataset', 'LabelMapFolders')
LABEL_READERS = ('LoadAnnotations', 'mmseg.LoadAnnotations', 'mmwamim.LoadLabelMap')
LOOKED_AT = 20  # label maps of each split that are read before a run


def settle_detection(cfg: Config, known: Optional[Sequence[str]]) -> None:
    """Takes the classes from the training set's annotation file, and checks every file.

    Args:
        cfg: The config, changed in place.
        known: The classes of a checkpoint that is to be tested.

    Raises:
        UserError: A file has categories that the training set does not have, or is faulty.
    """
    classes, whose = known, 'the checkpoint'
    sets = _datasets(cfg, COCO, known)
    if not sets:  # of another task
        return
    for loader, dataset in sets:
        root = Path(dataset.get('data_root') or '').expanduser()
        path, folder = root / dataset['ann_file'], root / dataset['data_prefix'].get('img', '')
        coco = read_coco(path, unlabelled=loader == 'test_dataloader')
        names = category_names(path, coco)
        own = given_classes(dataset)
        if classes is None and own:
            check_classes('the config', own, names, printable(path))
            classes, whose = own, 'the config'
        if classes is None:
            classes, whose = names, 'the training set'
        others = [name for name in names if name not in classes]
        if whose != 'the config':
            check_classes(path, names, classes, whose)
        elif others:
            say(f'{printable(path)}: the config leaves out {len(others)} of {len(names)} '
                f'categories: {shortened(others)}')
        masks = any(step.get('with_mask') for step in dataset.get('pipeline') or [])
        say(check_coco(path, coco, folder, masks))
        missing = [name for name in classes if name not in names]
        if missing:
            say(f'  no category of {len(missing)} of {len(classes)} classes: {shortened(missing)}')
        if loader == 'train_dataloader' and not coco['annotations']:
            raise NoImages(f'{printable(path)} has no annotation to train on')
        dataset['type'] = 'mmwamim.CocoInstances'
        dataset['metainfo'] = dict(dataset.get('metainfo') or {}, classes=list(classes))
        _settle_metric(cfg, loader.replace('dataloader', 'evaluator'), path)
    importlib.import_module('mmwamim.datasets.coco')  # registers the data set and the metric
    settle_outputs(cfg.model, len(classes))
    _settle_divisor(cfg)


def _settle_metric(cfg: Config, name: str, path: Path) -> None:
    """The metric of the split, on the split's own annotation file."""
    for metric in metrics(cfg, name):
        if type_name(metric) in ('CocoMetric', 'CocoInstanceMetric'):
            metric['type'] = 'mmwamim.CocoInstanceMetric'
            if metric.get('ann_file'):
                metric['ann_file'] = str(path)


def settle_segmentation(cfg: Config, known: Optional[Sequence[str]]) -> None:
    """Takes the classes from ``classes.txt`` of the data set or from the config, pairs photographs
    with label maps, and looks at the first label maps of each split.

    Args:
        cfg: The config, changed in place.
        known: The classes of a checkpoint that is to be tested.

    Raises:
        UserError: A label map does not fit the classes or its photograph, or two lists of classes
            differ.
    """
    classes = known
    for loader, dataset in _datasets(cfg, LABEL_MAPS, known):
        own, palette, reduce = _classes_of(dataset)
        if classes is not None and list(own) != list(classes):
            raise UserError(f'{printable(dataset["data_root"])} has the classes {shortened(own)}, '
                            f'but those of the {"checkpoint" if known else "training set"} are '
                            f'{shortened(classes)}')
        classes = own
        dataset['data_prefix'] = _settle_prefixes(dataset)
        for step in dataset.get('pipeline') or []:
            if step['type'] in LABEL_READERS:
                step.clear()
                step.update(type='mmwamim.LoadLabelMap', num_classes=len(classes))
        for field in ('metainfo', 'type', 'classes', 'palette', 'reduce_zero_label'):
            dataset.pop(field, None)
        dataset.update(type='mmwamim.LabelMapFolders', classes=list(classes), palette=palette,
                       reduce_zero_label=reduce)
        _look_at_label_maps(dataset, loader == 'train_dataloader')
    if classes is not None:
        settle_outputs(cfg.model, len(classes))
        _settle_divisor(cfg)


def _datasets(cfg: Config, kinds: Tuple[str, ...], known) -> List[Tuple[str, dict]]:
    """The data sets of some types, with the names of their loaders; of a checkpoint that is tested
    the test set alone."""
    names = LOADERS if known is None else LOADERS[-1:]
    return [(name, dataset) for name in names for dataset in data_sets(cfg.get(name))
            if type_name(dataset) in kinds and bool(dataset.get('ann_file')) == (kinds == COCO)]


def _classes_of(dataset: dict) -> Tuple[Sequence[str], Optional[list], bool]:
    """Names, palette, and whether 0 means unlabelled, of a data set of label maps."""
    root = Path(dataset['data_root']).expanduser()
    reduce = dataset.get('reduce_zero_label')
    own, palette = given_classes(dataset), dataset.get('palette')
    labels = root / dataset['data_prefix'].get('seg_map_path', '')
    files = [path / CLASS_FILE for path in (root, labels.parent, labels)]
    file = next((path for path in files if path.is_file()), None)
    if file is not None:
        listed = given_classes(dict(classes=str(file)))
        if own and list(own) != list(listed):
            raise UserError(f'{printable(file)} has the classes {shortened(listed)}, but the '
                            f'config has {shortened(own)}')
        return listed, palette, bool(reduce)
    if reduce is None:  # of the reader in older configs
        reduce = next((step.get('reduce_zero_label') for step in dataset.get('pipeline') or []
                       if step['type'] in LABEL_READERS), None)
    if own:
        return own, (dataset.get('metainfo') or {}).get('palette', palette), bool(reduce)
    if type_name(dataset) != 'ADE20KDataset':
        raise UserError(f'the classes of {printable(root)} are not known: name them in '
                        f'{printable(root / CLASS_FILE)}, one a line from label 0 on')
    importlib.import_module('mmseg.datasets')
    with DefaultScope.overwrite_default_scope('mmseg'):
        meta = DATASETS.get('mmseg.ADE20KDataset').METAINFO
    return meta['classes'], meta['palette'], True if reduce is None else reduce


def _settle_prefixes(dataset: dict) -> dict:
    """The folders of photographs and of label maps, under their usual names."""
    root, prefixes = Path(dataset['data_root']).expanduser(), {}
    for field in ('img_path', 'seg_map_path'):
        asked = dataset['data_prefix'].get(field, '')
        found = find_split(root, asked)
        if found is None or not found.is_dir():
            there = sorted(path.name for path in (root / asked).parent.glob('*') if path.is_dir())
            raise NoImages(f'{printable(root)!r} has no folder {asked!r}; beside it: '
                           f'{shortened(there)}. Name it with --cfg-options '
                           f'train_dataloader.dataset.data_prefix.{field}=NAME')
        prefixes[field] = os.path.relpath(found, root) if asked else ''
        if asked and prefixes[field] != os.path.normpath(asked):
            say(f'{printable(root / asked)} is not there: taking {printable(found)}')
    return prefixes


def _look_at_label_maps(dataset: dict, training: bool) -> None:
    """Reads some label maps of a split, spread over it; all of them where those hold one class.

    Raises:
        UserError: One does not fit the classes or its photograph, or there is one class alone and
            the rest is ignored: a mask of 0 and 255, perhaps.
    """
    root, number = Path(dataset['data_root']), len(dataset['classes'])
    photographs, maps = (root / dataset['data_prefix'][name]
                         for name in ('img_path', 'seg_map_path'))
    pairs = pair_by_name(list_images(photographs), list_images(maps),
                         dataset.get('img_suffix', ''), dataset.get('seg_map_suffix', ''))

    def labels_of(image: str, label: str) -> Set[int]:
        try:
            labels = read_label_map(maps / label, number, dataset['reduce_zero_label'])
        except UnreadableImage:
            return set()  # is told, and left out, when it is read
        check_size(str(photographs / image), labels.shape)
        return set(np.unique(labels).tolist())

    seen: Set[int] = set()
    for pair in pairs[::max(len(pairs) // LOOKED_AT, 1)]:
        seen |= labels_of(*pair)
    if not training or number == 1 or len(seen) != 2 or IGNORED not in seen:
        return
    if all(labels_of(*pair) <= seen for pair in pairs):
        raise UserError(
            f'every label map in {printable(maps)} holds {min(seen) + dataset["reduce_zero_label"]}'
            f' and {IGNORED} alone, and {IGNORED} is ignored: nothing could be learnt. Store the '
            f'others of the {number} classes with their numbers in place of {IGNORED}')


def _settle_divisor(cfg: Config) -> None:
    """Pads images so that no cell of a pyramid of features is cut: a side that the coarsest stride
    does not divide would shift every feature by up to a patch when the maps are resized."""
    patch = cfg.model.get('backbone', {}).get('patch_size')
    divisor = math.lcm(32, 2 * patch) if isinstance(patch, int) and patch > 4 else 32
    preprocessor = cfg.model.get('data_preprocessor')
    if preprocessor is None:
        return
    if type_name(preprocessor).endswith('DetDataPreprocessor'):
        preprocessor['pad_size_divisor'] = math.lcm(divisor,
                                                    preprocessor.get('pad_size_divisor', 1))
    elif type_name(preprocessor).endswith('SegDataPreProcessor'):
        size = preprocessor.get('size')
        if size is not None:
            preprocessor['size'] = tuple(-(-side // divisor) * divisor for side in size)
        elif not preprocessor.get('size_divisor'):
            preprocessor['size_divisor'] = divisor
        padding = preprocessor.setdefault('test_cfg', dict(size_divisor=divisor))
        if padding and padding.get('size_divisor'):
            padding['size_divisor'] = math.lcm(divisor, padding['size_divisor'])
