"""Settles data with one label an image: splits, the one list of classes, label files, outputs."""
import os
from pathlib import Path
from typing import Optional, Sequence, Tuple

from mmengine.config import Config

from mmwamim.datasets.label_files import check_label_file
from mmwamim.datasets.listing import NoImages, printable
from mmwamim.datasets.sources import is_other, kind_of_place, open_listed, open_source
from mmwamim.datasets.splits import list_labelled, settle_split
from mmwamim.errors import UserError

from .loaders import LOADERS, data_sets, given_classes, metrics, say, settle_outputs
from .reading import type_name

Datasets = Sequence[Tuple[str, dict]]  # each with the name of its loader
KINDS = ('CustomDataset', 'ClassFolders', 'ImageNet')
COLUMNS = ('column', 'label_column')


def settle_classification(cfg: Config, known: Optional[Sequence[str]]) -> None:
    """Finds the splits, and gives all of them the classes of the training set.

    Args:
        cfg: The config, changed in place; head, preprocessor and metrics get the number of classes.
        known: The classes of a checkpoint, whose training set need not be here.

    Raises:
        UserError: A folder or file is missing, or a split has classes or labels that the training
            set does not have.
    """
    names = LOADERS if known is None else LOADERS[-1:]  # tested: the others are not read
    found = [(name, dataset) for name in names for dataset in data_sets(cfg.get(name))
             if _is_labelled(dataset)]
    for _, dataset in found:
        _settle_names(dataset)
    for settle, with_file in ((_settle_folders, False), (_settle_files, True)):
        some = [(name, one) for name, one in found if bool(one.get('ann_file')) == with_file]
        if some:
            settle(cfg, some, known)


def _is_labelled(dataset: dict) -> bool:
    """Whether its images have labels that are to be settled here; ImageNet's test set has none."""
    return type_name(dataset) in KINDS and dataset.get('with_label', True) and not (
        type_name(dataset) == 'ImageNet' and dataset.get('split') == 'test')


def _settle_names(dataset: dict) -> None:
    """mmpretrain's data set of ImageNet as any other: the folder of a split, or its list."""
    split = dataset.pop('split', '') if type_name(dataset) == 'ImageNet' else ''
    dataset.setdefault('data_root', '')
    if split and dataset.get('held_out') is None:  # or the folder is settled, it may be the root
        dataset['data_prefix'] = dataset.get('data_prefix') or split
        listed = os.path.join('meta', f'{split}.txt')
        if not dataset.get('ann_file') and Path(dataset['data_root'], listed).is_file():
            dataset['ann_file'] = listed


def _settle_folders(cfg: Config, datasets: Datasets, known: Optional[Sequence[str]]) -> None:
    classes, training = known, None
    for name, dataset in datasets:
        is_training = name == 'train_dataloader'
        try:
            found, prefix = _find(dataset, classes)
        except NoImages as error:
            if is_training:
                raise NoImages(f'{error}. The folder of the data is to hold train/<class>/* '
                               'and val/<class>/*') from None
            raise NoImages(f'{error}. Name it by {name}.dataset.data_prefix=NAME (mmwamim train: '
                           'after --cfg-options)') from None
        classes = found.classes
        training = dataset if is_training else training
        dataset.update(type='mmwamim.ClassFolders', data_prefix=prefix, classes=list(classes))
        for field in ('with_label', 'metainfo'):
            dataset.pop(field, None)
        if not is_training:
            dataset.setdefault('test_mode', True)
    where = 'of the checkpoint' if known is not None else 'of the test set' if training is None \
        else f'in {printable(Path(training["data_root"]))}'
    settle_number(cfg, len(classes), where)


def _find(dataset: dict, classes: Optional[Sequence[str]]) -> Tuple[object, str]:
    """What has the list of ``classes`` of a split, and its name or path below the root."""
    root, prefix = dataset['data_root'], dataset.get('data_prefix', '')
    wanted = classes or given_classes(dataset)
    columns = {name: dataset.get(name) for name in COLUMNS}
    if isinstance(prefix, str) and (any(columns.values()) or is_other(
            root or prefix, prefix if root else '')):
        return open_source(root or prefix, prefix if root else '', True, wanted, **columns), prefix
    folder, prefix = _settle_prefix(dataset)
    return list_labelled(folder, wanted, dataset.get('extensions'),
                         'the training set' if classes else "the config's list"), prefix


def _settle_prefix(dataset: dict) -> Tuple[Path, str]:
    """The folder of a split, and its path below the data set's root."""
    root, prefix = Path(dataset['data_root']), dataset.get('data_prefix', '')
    if isinstance(prefix, dict):
        prefix = prefix.get('img_path', '')
    if not root.is_dir():
        raise NoImages(f'{printable(root)!r} is not a folder')
    folder = settle_split(root, prefix)
    found = os.path.relpath(folder, root) if prefix else ''
    if prefix and found != os.path.normpath(prefix):
        say(f'{printable(root / prefix)} is not there: taking {printable(folder)}')
    return folder, found


def _settle_files(cfg: Config, datasets: Datasets, known: Optional[Sequence[str]]) -> None:
    """Label files, with a line an image: all of them count in the same numbers."""
    classes, most = known, None
    head = cfg.model.get('head') or {}
    for name, dataset in datasets:
        classes = classes or given_classes(dataset)
        if classes is not None:
            most = len(classes)
            dataset['classes'] = list(classes)
        root, prefix = Path(dataset['data_root']), dataset.get('data_prefix', '')
        folder = root / (prefix.get('img_path', '') if isinstance(prefix, dict) else prefix)
        if any(dataset.get(field) for field in COLUMNS):
            raise UserError(f'{name}.dataset has a label file (ann_file), whose labels count, so '
                            'that there is no column to name')
        in_files = not os.path.exists(folder) or kind_of_place(str(folder)) != 'lmdb'
        labels = check_label_file(root / dataset['ann_file'], folder if in_files else None, most)
        if not in_files:
            open_listed(str(root / dataset['ann_file']), str(folder), False)
        if name == 'train_dataloader' and most is None:
            most = labels
        dataset['type'] = 'mmwamim.ClassFolders'
        for field in ('with_label', 'metainfo'):
            dataset.pop(field, None)
        if name != 'train_dataloader':
            dataset.setdefault('test_mode', True)
    if classes is None and head.get('num_classes') and most and most <= head['num_classes']:
        most = head['num_classes']  # classes that no image has, for all that the files say
    if most:
        settle_number(cfg, most, 'in the label files' if classes is None else 'in the list')


def settle_number(cfg: Config, classes: int, where: str) -> None:
    """As many outputs as classes, and no more guesses than that in an accuracy.

    Raises:
        UserError: There is one class alone.
    """
    head = cfg.model.get('head')
    if not head or head.get('num_classes') is None:
        return
    if classes < 2:
        raise UserError(f'there is one class {where}: a classifier tells at least two apart')
    if head.num_classes != classes:
        say(f'{classes} classes {where}')
    for part in (*(part for name, part in cfg.model.items() if name != 'backbone'),
                 cfg.get('data_preprocessor')):
        if isinstance(part, (dict, list)):
            settle_outputs(part, classes)
    for metric in (head, *metrics(cfg, 'val_evaluator'), *metrics(cfg, 'test_evaluator')):
        guesses = metric.get('topk')
        if guesses and (metric is head or type_name(metric) == 'Accuracy'):
            guesses = (guesses, ) if isinstance(guesses, int) else guesses
            metric['topk'] = tuple(k for k in guesses if k <= classes) or (1, )
