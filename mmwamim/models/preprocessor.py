"""From a loader's batch to normalised images on the device, without waiting for it."""
from typing import Any, Dict, Optional, Sequence

import torch
from mmpretrain.models import SelfSupDataPreprocessor
from mmpretrain.structures import DataSample
from torch import Tensor

from mmwamim.registry import MODELS


@MODELS.register_module()
class ImagePreprocessor(SelfSupDataPreprocessor):
    """mmpretrain's ``SelfSupDataPreprocessor`` for algorithms that look at images alone.

    The values are the same. Images are copied without waiting, colours exchanged without an index
    list to upload, and data samples that name files and hold no tensor are left as they are,
    instead of being copied one by one.

    Args:
        mean: In the units of the images: one value, or one a channel, of any number of them.
        std: See ``mean``.
        **fields: Those of the parent, such as ``to_rgb``.

    Raises:
        ValueError: ``mean`` and ``std`` have not as many values.

    Examples:
        >>> prepare = ImagePreprocessor(mean=[128.], std=[64.])
        >>> images = torch.full((2, 1, 8, 8), 192, dtype=torch.uint8)
        >>> prepare(dict(inputs=images))['inputs'].unique()
        tensor([1.])
    """

    def __init__(self, mean: Optional[Sequence[float]] = None,
                 std: Optional[Sequence[float]] = None, **fields: Any) -> None:
        if mean is None or std is None or len(mean) in (1, 3):
            super().__init__(mean=mean, std=std, **fields)
        else:  # which the parent does not take
            if len(mean) != len(std):
                raise ValueError(f'std must have as many values as mean, {len(mean)}, not '
                                 f'{len(std)}')
            super().__init__(**fields)
            self._enable_normalize = True
            for name, values in (('mean', mean), ('std', std)):
                self.register_buffer(name, torch.tensor(values, dtype=torch.float).view(-1, 1, 1),
                                     False)
        self._non_blocking = True

    def forward(self, data: dict, training: bool = False) -> Dict[str, object]:
        """Prepares a batch.

        Args:
            data: ``inputs``, uint8 images (B, C, H, W) in the loader's order of colours, or a list
                of such views; and ``data_samples``.
            training: Not used.

        Returns:
            The same keys, images float32 on the device.

        Raises:
            ValueError: Colours are to be exchanged, and there are not three.
        """
        inputs = data['inputs']
        if isinstance(inputs, Tensor):
            inputs = self._prepare(inputs)
        else:
            inputs = [self._prepare(view) for view in inputs]
        samples = data.get('data_samples')
        if isinstance(samples, list) and samples and _has_tensor(samples[0]):
            samples = self.cast_data(samples)
        return dict(inputs=inputs, data_samples=samples)

    def _prepare(self, images: Tensor) -> Tensor:
        images = images.to(self.device, non_blocking=True)
        if self._channel_conversion:
            if images.shape[1] != 3:
                raise ValueError(f'data_preprocessor.to_rgb is for images of three channels, not '
                                 f'{images.shape[1]}')
            images = images.flip(1)
        images = images.float()
        return (images - self.mean) / self.std if self._enable_normalize else images


def _has_tensor(sample: object) -> bool:
    return isinstance(sample, DataSample) and any(
        isinstance(value, Tensor) for value in sample.all_values())
