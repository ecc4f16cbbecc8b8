"""Images on their way to the network."""
from typing import Optional, Sequence

from mmpretrain.models import SelfSupDataPreprocessor
from torch import Tensor

from mmwamim.registry import MODELS


@MODELS.register_module()
class ImagePreprocessor(SelfSupDataPreprocessor):
    """mmpretrain's ``SelfSupDataPreprocessor``, which the host does not wait for.

    There the order of colours is a list of indices that is copied to the device in every step, and
    so are the images; both copies wait until the device has done all that it was given.

    Args:
        mean: Of each channel, in the order that the network sees.
        std: Of each channel.
        to_rgb: Whether to turn the order of channels round.
        non_blocking: Copies images that a loader has pinned without waiting.
    """

    def __init__(self, mean: Optional[Sequence[float]] = None,
                 std: Optional[Sequence[float]] = None, to_rgb: bool = False,
                 non_blocking: bool = True) -> None:
        super().__init__(mean=mean, std=std, non_blocking=non_blocking)
        self.to_rgb = to_rgb

    def forward(self, data: dict, training: bool = False) -> dict:
        """Moves, turns and normalises.

        Args:
            data: ``inputs``, images (B, C, H, W) of any number type or a list of them, one a view,
                and ``data_samples``.
            training: Not used; part of MMEngine's interface.

        Returns:
            The same, float32 on the device.
        """
        data = self.cast_data(data)
        if self.to_rgb:
            images = data['inputs']
            data['inputs'] = images.flip(1) if isinstance(images, Tensor) else [
                view.flip(1) for view in images]
        return super().forward(data, training)
