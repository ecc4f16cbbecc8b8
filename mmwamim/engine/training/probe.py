"""Watches what the features of a pre-training run are worth while it goes on."""
import os
from pathlib import Path
from typing import Optional

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwamim.datasets.crop import Size
from mmwamim.datasets.listing import NoImages, readable_endings
from mmwamim.datasets.sources import kind_of_place, open_source
from mmwamim.datasets.splits import find_split
from mmwamim.evaluation.features import (
    LabelledImages,
    effective_rank,
    extract_features,
    image_size,
    knn_accuracy,
)
from mmwamim.registry import HOOKS

from .running_state import evaluated_model


@HOOKS.register_module()
class FeatureProbeHook(Hook):
    """Logs k-NN accuracy and effective rank of the frozen encoder every few epochs, of the averaged
    one where ``EMAHook`` keeps one.

    Opt in with ``custom_hooks = [..., dict(type='mmwamim.FeatureProbeHook', data_root=...)]``.
    Every rank takes its share of the images. The run's random state is not touched, so a run
    with the hook learns exactly what a run without it learns.

    Args:
        data_root: A folder with train/<class>/* and val/<class>/* (or validation/, test/ and the
            like) for k-NN accuracy and the rank, or with images alone for the rank; or tables,
            shards or data bases with labels. The classes are those of ``train``.
        interval: Epochs from one probe to the next; the last epoch is always probed.
        size: Side of the images in pixels, or height and width. Default: the
            encoder's ``img_size``.
        k: Neighbours.
        most: At most as many images of each split, spread evenly over the classes.
        batch_size: Images of a rank at a time.
        num_workers: Processes that read images. Default: as many as training has.
        column: The column of paths or images, where ``data_root`` has columns.
        label_column: The column of classes there.

    Raises:
        FileNotFoundError: ``data_root`` is not a folder, or a split of it holds no image.
        UserError: The validation split has a class that ``train`` does not have.

    Examples:
        >>> custom_hooks = [  # in a config
        ...     dict(type='mmwamim.FeatureProbeHook', data_root='data/pets', interval=10)]
    """

    priority = 'LOW'  # before the epoch's checkpoint and log are written

    def __init__(self, data_root: str, interval: int = 10, size: Optional[Size] = None,
                 k: int = 20, most: Optional[int] = 5000, batch_size: int = 64,
                 num_workers: Optional[int] = None, column: Optional[str] = None,
                 label_column: Optional[str] = None) -> None:
        root = os.path.expanduser(data_root)
        try:
            folder = kind_of_place(root) == 'folder'
        except NoImages as error:
            raise NoImages(f'FeatureProbeHook: {error}') from None
        if interval < 1:
            raise ValueError(f'FeatureProbeHook: interval must be at least 1, not {interval}')
        self.interval, self.size = interval, size
        self.k, self.most, self.batch_size = k, most, batch_size
        self.num_workers = num_workers
        self.columns = dict(column=column, label_column=label_column)
        self.train, self.val, self.classes = Path(root), None, None
        self.splits = ('', '') if folder else ('train', 'val')
        if not folder:
            self.val = self.train
        elif find_split(root, 'train') and find_split(root, 'val'):
            self.train, self.val = find_split(root, 'train'), find_split(root, 'val')
        if self.val is not None:
            fields = dict(self.columns, endings=[*readable_endings(), '.npy'])
            self.classes = open_source(str(self.train), self.splits[0], True, **fields).classes
            # Raises now rather than after the first epoch.
            open_source(str(self.val), self.splits[1], True, self.classes, **fields)

    def after_train_epoch(self, runner: Runner) -> None:
        last = runner.epoch + 1 == runner.max_epochs
        if not (self.every_n_epochs(runner, self.interval) or last):
            return
        model = evaluated_model(runner)
        size = self.size or image_size(model.backbone)
        device = next(model.backbone.parameters()).device
        workers = runner.train_dataloader.num_workers if self.num_workers is None \
            else self.num_workers

        def features(place: Path, split: str):
            images = LabelledImages(str(place), size, self.most, self.classes is not None,
                                    self.classes, runner.cfg.get('value_range'), split,
                                    runner.cfg.get('channels'), **self.columns)
            return extract_features(model.backbone, model.data_preprocessor, images,
                                    self.batch_size, num_workers=workers)

        known, labels = features(self.train, self.splits[0])
        values = dict(effective_rank=effective_rank(known, device))
        if self.val is not None:
            queries, truth = features(self.val, self.splits[1])
            values['knn_top1'] = knn_accuracy(known, labels, queries, truth, self.k,
                                              device=device)
        for name, value in values.items():
            runner.message_hub.update_scalar(f'probe/{name}', value)
        runner.visualizer.add_scalars({f'probe/{name}': value for name, value in values.items()},
                                      step=runner.epoch + 1)
        runner.logger.info(f'Probe after epoch {runner.epoch + 1}: ' + '  '.join(
            f'{name} {value:.2f}' for name, value in values.items()))
