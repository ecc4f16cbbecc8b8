"""Settles which data a run takes: folders, splits, the list of classes, and how images are read."""
import os
from typing import Iterator, List, Optional, Sequence, Tuple

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES

from mmwamim.datasets.listing import printable, shortened
from mmwamim.datasets.pixels import check_range
from mmwamim.datasets.sources import kind_of_place, open_source
from mmwamim.datasets.unreadable import name_unreadable
from mmwamim.errors import UserError
from mmwamim.evaluation.robustness import read_wnids
from mmwamim.interface.words import option
from mmwamim.registry import HOOKS

from .channel_data import settle_channels
from .class_data import KINDS, settle_classification
from .dense_data import settle_detection, settle_segmentation
from .loaders import LOADERS, add_hook, data_sets, metrics, say
from .reading import type_name

UNLABELLED = 'UnlabelledImages'
OTHER_READERS = {f'{scope}LoadImageFromFile' for scope in ('', 'mmcv.', 'mmpretrain.', 'mmdet.',
                                                           'mmseg.')}


def settle_data(cfg: Config, folder: Optional[str] = None,
                classes: Optional[Sequence[str]] = None, column: Optional[str] = None,
                label_column: Optional[str] = None) -> None:
    """Puts ``--data`` into the config: images to pre-train on, or a data set in the layout that
    the config's data set names. Every split gets the classes of the training set.

    Args:
        cfg: The config, changed in place.
        folder: What --data says. Default: what the config says.
        classes: The classes that a checkpoint was trained on, when it is to be tested: they count
            instead of those of the training set.
        column: The column of paths or images, where the images are in a table.
        label_column: The column of classes there.

    Raises:
        UserError: The folder is missing or empty, the config's data set takes no folder or no
            columns, or a split has classes that the training set does not have.
    """
    if folder is not None:
        kind_of_place(os.path.expanduser(folder))  # raises if there is nothing
    loader = cfg.get('train_dataloader')
    if loader is not None and not loader.get('num_workers'):
        for field in ('persistent_workers', 'prefetch_factor'):  # torch refuses them without
            loader.pop(field, None)
    _settle_lmdb(cfg)
    settle_reading(cfg)
    settle_channels(cfg)
    add_hook(cfg, dict(type='mmwamim.DataReportHook'))
    _settle_columns(cfg, column, label_column)
    if loader is not None and type_name(loader.dataset) == UNLABELLED:
        _settle_unlabelled(loader, folder)
        return
    roots = [dataset for name in LOADERS for dataset in data_sets(cfg.get(name))
             if 'data_root' in dataset]
    if folder is not None:
        if not roots:
            raise UserError(f'{option("data")} works with configs whose data sets have a data_root')
        old = (roots[0].data_root or '').rstrip('/')
        for metric in (*metrics(cfg, 'val_evaluator'), *metrics(cfg, 'test_evaluator')):
            if old and metric.get('ann_file'):
                metric['ann_file'] = metric['ann_file'].replace(old, folder.rstrip('/'), 1)
        for dataset in roots:
            dataset.data_root = folder
    for dataset in roots:
        dataset.data_root = os.path.expanduser(dataset.data_root or '')
    settle_classification(cfg, classes)
    settle_detection(cfg, classes)
    settle_segmentation(cfg, classes)


def _settle_columns(cfg: Config, column: Optional[str], label_column: Optional[str]) -> None:
    given = {name: value for name, value in (('column', column), ('label_column', label_column))
             if value is not None}
    kinds = (UNLABELLED, ) if label_column is None else ()
    taking = [dataset for name in LOADERS for dataset in data_sets(cfg.get(name))
              if type_name(dataset) in (*KINDS, *kinds) and dataset.get('with_label', True)]
    if given and not taking:
        name = 'column' if label_column is None else 'label_column'
        raise UserError(f'{option(name)} is for data sets with one label an image'
                        + (', or none' if kinds else '') + ', which this config has not')
    for dataset in taking:
        dataset.update(given)


def _settle_lmdb(cfg: Config) -> None:
    """MMEngine's way to an LMDB data base, in the step that reads images
    (``backend_args=dict(backend='lmdb', db_path=...)``), as the place of the data set."""
    for dataset in (dataset for name in LOADERS for dataset in data_sets(cfg.get(name))):
        for step in dataset.get('pipeline') or []:
            backend = step.get('backend_args') or step.get('file_client_args') or {} \
                if type_name(step) == 'LoadImageFromFile' else {}
            if backend.get('backend') == 'lmdb' and type_name(dataset) in (*KINDS, UNLABELLED):
                place = os.path.abspath(os.path.expanduser(backend['db_path']))
                dataset['data_root' if type_name(dataset) == UNLABELLED else 'data_prefix'] = place
                for field in ('backend_args', 'file_client_args'):
                    step.pop(field, None)


def settle_reading(cfg: Config) -> None:
    """One reader for every task: ours, with the config's ``value_range`` where it has one.

    Raises:
        UserError: ``value_range`` is no range.
    """
    value_range = check_range(cfg.get('value_range'))
    for step in loading_steps([cfg.get(name) or {} for name in LOADERS]):
        if step['type'] != 'mmwamim.LoadImage':
            step.clear()
            step['type'] = 'mmwamim.LoadImage'
        if value_range is not None:
            step['value_range'] = value_range


def loading_steps(config) -> Iterator[dict]:
    """The steps of a nested config that read an image, as ``mmwamim.LoadImage`` does."""
    if isinstance(config, dict):
        kind = config.get('type')
        if kind == 'mmwamim.LoadImage' or kind in OTHER_READERS and _reads_colours(config):
            yield config
        config = config.values()
    if not isinstance(config, str):
        for value in config:
            if isinstance(value, dict) or isinstance(value, (list, tuple)):
                yield from loading_steps(value)


def _reads_colours(step: dict) -> bool:
    """Whether a reader of others gives 8-bit colours from local files, as ours does."""
    defaults = dict(to_float32=False, color_type='color', ignore_empty=False)
    for name, value in step.items():
        if name in ('backend_args', 'file_client_args'):
            if value and value.get('backend') not in ('local', 'disk'):
                return False
        elif name not in ('type', 'imdecode_backend') and defaults.get(name, not value) != value:
            return False
    return True


@HOOKS.register_module()
class DataReportHook(Hook):
    """Says once at the start what each split took from its folder, and what it left out, and
    after each epoch what the data sets of other ranks could not read; refuses to resume with other
    classes than those of the checkpoint."""

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

    def after_train_epoch(self, runner: Runner) -> None:
        name_unreadable(runner.train_dataloader.dataset)

    def after_val_epoch(self, runner: Runner, metrics: Optional[dict] = None) -> None:
        name_unreadable(runner.val_dataloader.dataset)

    def after_test_epoch(self, runner: Runner, metrics: Optional[dict] = None) -> None:
        name_unreadable(runner.test_dataloader.dataset)

    def _report(self, runner: Runner, loaders: dict) -> None:
        for name, loader in loaders.items():
            for description in _descriptions(getattr(loader, 'dataset', None)):
                runner.logger.info(f'Data ({name}): {description}')


def _descriptions(dataset) -> List[str]:
    """What a data set, or those that it is made of, took and left out."""
    own = getattr(dataset, 'description', '')
    if own:
        return [own]
    inside = [getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', [])]
    return [text for one in inside if one is not None for text in _descriptions(one)]


def checkpoint_classes(checkpoint: dict) -> Optional[Tuple[str, ...]]:
    """The classes that a checkpoint was trained on, in the order of its outputs; None if it does
    not say. Those of ImageNet, which mmpretrain stores in words, are the names of the folders."""
    meta = (checkpoint.get('meta') or {}).get('dataset_meta') or {}
    classes = meta.get('classes', meta.get('CLASSES')) if isinstance(meta, dict) else None
    if classes and tuple(classes) == tuple(IMAGENET_CATEGORIES):
        return tuple(read_wnids())
    return tuple(classes) if classes else None


def _settle_unlabelled(loader: dict, folder: Optional[str]) -> None:
    if folder is not None:
        loader.dataset.data_root = folder
    root = loader.dataset.data_root
    images = len(open_source(root, endings=loader.dataset.get('extensions'),
                             column=loader.dataset.get('column')))
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
