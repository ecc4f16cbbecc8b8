"""Pictures of what a run predicts, while it goes on."""
from pathlib import Path
from typing import Optional, Sequence

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwamim.datasets import UnlabelledImages
from mmwamim.datasets.crop import Size
from mmwamim.datasets.listing import readable_endings
from mmwamim.engine.training.running_state import evaluated_model
from mmwamim.evaluation.features import LabelledImages, image_size
from mmwamim.registry import HOOKS

from .figures import to_array
from .pictures import pyramid_figure, reconstruction_figure


@HOOKS.register_module()
class ReconstructionHook(Hook):
    """Draws reconstructions and subbands of fixed images every few epochs.

    They go to MMEngine's visualizer: files below the run's ``vis_data``, and TensorBoard where
    ``visualizer.vis_backends`` names it. The masks are always the same, and the run's random
    state is not touched.

    Args:
        data_root: A folder of images, or a table, tar shards, a Hugging Face data set or LMDB; the
            drawn ones are spread over it.
        interval: Epochs from one picture to the next; the last epoch is always drawn.
        most: Number of images.
        size: Side of the images in pixels, or height and width. Default: what the
            encoder was built for.
        column: The column of paths or images, where ``data_root`` has columns.

    Raises:
        FileNotFoundError: ``data_root`` is no such place, or holds no image.

    Examples:
        >>> custom_hooks = [  # in a config
        ...     dict(type='mmwamim.ReconstructionHook', data_root='data/photos', interval=10)]
    """

    priority = 'LOW'

    def __init__(self, data_root: str, interval: int = 10, most: int = 4,
                 size: Optional[Size] = None, column: Optional[str] = None) -> None:
        if interval < 1:
            raise ValueError(f'ReconstructionHook: interval must be at least 1, not {interval}')
        # Raises now rather than after the first epoch.
        UnlabelledImages(data_root, column=column, extensions=[*readable_endings(), '.npy'])
        self.column = column
        self.root, self.most = data_root, most
        self.interval, self.size = interval, size

    def after_train_epoch(self, runner: Runner) -> None:
        last = runner.epoch + 1 == runner.max_epochs
        if not (self.every_n_epochs(runner, self.interval) or last):
            return
        model = evaluated_model(runner)
        images = self._read(self.size or image_size(model.backbone),
                            runner.cfg.get('value_range'), runner.cfg.get('channels'))
        # All processes predict, since weights may be shared out among them; one keeps the pictures.
        figures = dict(reconstruction=reconstruction_figure(model, images),
                       pyramid=pyramid_figure(model, images))
        if not is_main_process():
            return
        for name, figure in figures.items():
            runner.visualizer.add_image(name, to_array(figure), step=runner.epoch + 1)
        runner.logger.info(f'Pictures after epoch {runner.epoch + 1} are in '
                           f'{Path(runner.log_dir) / "vis_data/vis_image"}')

    def _read(self, size: Size, value_range: Optional[Sequence[float]],
              channels: Optional[int]) -> torch.Tensor:
        images = LabelledImages(self.root, size, self.most, with_label=False,
                                value_range=value_range, channels=channels, column=self.column)
        return torch.stack([images[i]['inputs'] for i in range(len(images))])
