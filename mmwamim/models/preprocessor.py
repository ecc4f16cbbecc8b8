"""From a loader's batch to normalised images on the device, without waiting for it."""
from typing import Dict

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

    Fields are those of the parent: ``mean`` and ``std`` in the units of the images, and ``to_rgb``.
    """

    def __init__(self, *fields, **named) -> None:
        super().__init__(*fields, **named)
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
