"""Settles which data a run takes: folders, splits, the list of classes, and how images are read."""
import os
from pathlib import Path
from typing import Dict, Iterator, Optional, Sequence, Tuple

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwamim.datasets.listing import NoImages, list_images, printable, shortened
from mmwamim.datasets.pixels import check_range
from mmwamim.datasets.splits import list_labelled, pretraining_folder, settle_split
from mmwamim.errors import UserError
from mmwamim.registry import HOOKS

from .dense_data import settle_detection, settle_segmentation
from .loaders import LOADERS, given_classes, say

UNLABELLED = 'UnlabelledImages'
FOLDERS_OF_CLASSES = ('CustomDataset', 'ClassFolders')
OTHER_READERS = {f'{scope}LoadImageFromFile' for scope in ('', 'mmcv.', 'mmpretrain.', 'mmdet.',
                                                           'mmseg.')}


def settle_data(cfg: Config, folder: Optional[str] = None,
                classes: Optional[Sequence[str]] = None) -> None:
    """Puts ``--data`` into the config: images to pre-train on, or a data set in the layout that
    the config's data set names. Every split gets the classes of the training set.

    Args:
        cfg: The config, changed in place.
        folder: What --data says. Default: what the config says.
        classes: The classes that a checkpoint was trained on, when it is to be tested: they count
            instead of those of the training set.

    Raises:
        UserError: The folder is missing or empty, the config's data set takes no folder, or a
            split has classes that the training set does not have.
    """
    if folder is not None and not Path(folder).is_dir():
        raise NoImages(f'data_root {printable(folder)!r} is not a folder')
    loader = cfg.get('train_dataloader')
    if loader is not None and not loader.get('num_workers'):
        for field in ('persistent_workers', 'prefetch_factor'):  # torch refuses them without
            loader.pop(field, None)
    settle_reading(cfg)
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='mmwamim.DataReportHook')]
    if loader is not None and loader.dataset.type.endswith(UNLABELLED):
        _settle_unlabelled(loader, folder)
        return
    roots = [cfg[name].dataset for name in LOADERS
             if cfg.get(name) and 'data_root' in cfg[name].dataset]
    if folder is not None:
        if not roots:
            raise UserError('--data works with configs whose data sets have a data_root')
        for name in ('val_evaluator', 'test_evaluator'):
            annotations = (cfg.get(name) or {}).get('ann_file')
            if annotations:
                cfg[name].ann_file = annotations.replace(roots[0].data_root.rstrip('/'),
                                                         folder.rstrip('/'), 1)
        for dataset in roots:
            dataset.data_root = folder
    labelled = {name: cfg[name].dataset for name in LOADERS
                if cfg.get(name) and _has_class_folders(cfg[name].dataset)}
    if labelled:
        _settle_classes(cfg, labelled, classes)
    settle_detection(cfg, classes)
    settle_segmentation(cfg, classes)


def settle_reading(cfg: Config) -> None:
    """One reader for every task: ours, with the config's ``value_range`` where it has one.

    Raises:
        UserError: ``value_range`` is no range.
    """
    try:
        value_range = check_range(cfg.get('value_range'))
    except ValueError as error:
        raise UserError(str(error)) from None
    for step in loading_steps([cfg.get(name) or {} for name in LOADERS]):
        step['type'] = 'mmwamim.LoadImage'
        if value_range is not None:
            step['value_range'] = value_range


def loading_steps(config) -> Iterator[dict]:
    """The steps of a nested config that read an image, as ``mmwamim.LoadImage`` does."""
    if isinstance(config, dict):
        kind = config.get('type')
        if kind == 'mmwamim.LoadImage' or kind in OTHER_READERS and len(config) == 1:
            yield config
        config = config.values()
    if not isinstance(config, str):
        for value in config:
            if isinstance(value, dict) or isinstance(value, (list, tuple)):
                yield from loading_steps(value)


@HOOKS.register_module()
class DataReportHook(Hook):
    """Says once at the start what each split took from its folder, and what it left out; refuses
    to resume with other classes than those of the checkpoint."""

    priority = 'HIGH'  # before other hooks complain of outputs that do not fit

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Raises UserError with both lists if a resumed run counts in other classes."""
        then = checkpoint_classes(checkpoint)
        meta = getattr(runner.train_dataloader.dataset, 'metainfo', {}) if runner._resume else {}
        now = tuple(meta.get('classes') or ())
        if then and now and then != now:
            raise UserError(f'the checkpoint was trained on {len(then)} classes, '
                            f'{shortened(then)}, but the data has {len(now)}, {shortened(now)}: '
                            'resume with the data of the run, or start another work directory')

    def before_train(self, runner: Runner) -> None:
        self._report(runner, dict(train=runner.train_dataloader,
                                  val=runner.val_loop and runner.val_loop.dataloader))

    def before_test(self, runner: Runner) -> None:
        self._report(runner, dict(test=runner.test_dataloader))

    def _report(self, runner: Runner, loaders: dict) -> None:
        for name, loader in loaders.items():
            description = getattr(getattr(loader, 'dataset', None), 'description', '')
            if description:
                runner.logger.info(f'Data ({name}): {description}')


def _has_class_folders(dataset: dict) -> bool:
    return (dataset.get('type', '').endswith(FOLDERS_OF_CLASSES) and not dataset.get('ann_file')
            and dataset.get('with_label', True) and 'data_root' in dataset)


def _settle_classes(cfg: Config, datasets: Dict[str, dict],
                    known: Optional[Sequence[str]]) -> None:
    """Finds the splits, and gives all of them the classes of the training set.

    Args:
        cfg: The config; head, preprocessor and metrics get the number of classes.
        datasets: The data sets of its loaders, by the loaders' names.
        known: The classes of a checkpoint, whose training set need not be here.
    """
    classes = known
    for name, dataset in datasets.items():
        training = name == 'train_dataloader'
        if known is not None and name != 'test_dataloader':
            continue  # a checkpoint is tested: the others are not read
        try:
            folder, prefix = _settle_prefix(dataset)
            found = list_labelled(folder, classes or given_classes(dataset),
                                  dataset.get('extensions'),
                                  'the training set' if classes else "the config's list")
        except NoImages as error:
            if training:
                raise NoImages(f'{error}. Set the data set with --data FOLDER, which holds '
                               'train/<class>/* and val/<class>/*') from None
            raise NoImages(f'{error}. Name it with --cfg-options {name}.dataset.data_prefix=NAME'
                           ) from None
        classes = found.classes
        dataset.update(type='mmwamim.ClassFolders', data_prefix=prefix, classes=list(classes))
        dataset.pop('with_label', None)
        if not training:
            dataset.setdefault('test_mode', True)
    where = 'of the checkpoint' if known is not None else \
        f'in {printable(Path(datasets["train_dataloader"].data_root))}' \
        if 'train_dataloader' in datasets else 'of the test set'
    _settle_number(cfg, len(classes), where)


def _settle_prefix(dataset: dict) -> Tuple[Path, str]:
    """The folder of a split, and its path below the data set's root."""
    root, prefix = Path(dataset['data_root']).expanduser(), dataset.get('data_prefix', '')
    if isinstance(prefix, dict):
        prefix = prefix.get('img_path', '')
    if not root.is_dir():
        raise NoImages(f'{printable(root)!r} is not a folder')
    folder = settle_split(root, prefix)
    found = os.path.relpath(folder, root) if prefix else ''
    if prefix and found != os.path.normpath(prefix):
        say(f'{printable(root / prefix)} is not there: taking {printable(folder)}')
    return folder, found


def _settle_number(cfg: Config, classes: int, where: str) -> None:
    """As many outputs as classes."""
    head = cfg.model.get('head')
    if not head or head.get('num_classes') in (None, classes):
        return
    say(f'{classes} classes {where}: taking num_classes = {classes} instead of {head.num_classes}')
    head.num_classes = classes
    if cfg.get('data_preprocessor', {}).get('num_classes'):
        cfg.data_preprocessor.num_classes = classes
    if classes < 5:
        for name in ('val_evaluator', 'test_evaluator'):
            if cfg.get(name):
                cfg[name].topk = (1, )


def checkpoint_classes(checkpoint: dict) -> Optional[Tuple[str, ...]]:
    """The classes that a checkpoint was trained on, in the order of its outputs; None if it does
    not say."""
    meta = (checkpoint.get('meta') or {}).get('dataset_meta') or {}
    classes = meta.get('classes', meta.get('CLASSES')) if isinstance(meta, dict) else None
    return tuple(classes) if classes else None


def _settle_unlabelled(loader: dict, folder: Optional[str]) -> None:
    if folder is not None:
        loader.dataset.data_root = folder
    root = Path(loader.dataset.data_root).expanduser()
    if not root.is_dir():
        raise NoImages(f'data_root {printable(root)!r} is not a folder')
    root, _ = pretraining_folder(root)
    listing = list_images(root, loader.dataset.get('extensions'))
    images = len(listing.paths)
    if not images:
        raise NoImages(f'no image found below {printable(root)!r} (data_root): '
                       f'{listing.describe()}')
    if loader.dataset.get('indices') is not None:
        indices = loader.dataset.indices
        images = len(indices) if isinstance(indices, Sequence) else min(images, abs(indices))
    processes = int(os.environ.get('WORLD_SIZE', 1))
    if images < processes:
        raise UserError(f'{images} images in {printable(root)!r} are too few for {processes} '
                        'processes')
    if images < loader.batch_size * processes:
        # Incomplete batches are dropped, so a batch larger than the set would train on nothing.
        say(f'{images} images are fewer than a batch of {loader.batch_size} x {processes}: '
            f'taking {images // processes} x {processes}')
        loader.batch_size = images // processes
