"""Masked frequency modeling: predict the frequencies that were taken out of the whole image."""
from typing import Dict, Optional

import torch
from mmengine.model import BaseModule
from mmpretrain.models.selfsup import BaseSelfSupervisor
from torch import Tensor

from mmwamim.registry import MODELS

from ..masking import upload
from ..targets.fourier import low_frequencies


@MODELS.register_module()
class MFM(BaseSelfSupervisor):
    """Low- or high-pass filters every image, and predicts what the filter took away.

    No patch is masked: the encoder sees all patches of the filtered image, and can be any of
    mmpretrain's that returns a feature map.

    Source: Xie et al., "Masked Frequency Modeling for Self-Supervised Visual Pre-Training",
    ICLR 2023, and its official code: images are filtered in [0, 1] and clamped to it before they
    are normalised. Their mean and std are those of ``data_preprocessor``.

    Args:
        backbone: Encoder with a feature map (B, C, rows, cols) as its last output.
        neck: Maps the feature map to an image (B, 3, H, W), such as ``SimMIMLinearDecoder``.
        head: Maps (prediction, images, kept frequencies) to losses, such as ``FrequencyHead``.
        radius: Frequencies inside of this circle, not on it, are low, in cycles an image.
        low_pass: Share of images that keep their low frequencies; the others keep the high ones.
        data_preprocessor: As in mmpretrain; default ``SelfSupDataPreprocessor``.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: ``low_pass`` lies outside [0, 1], or ``radius`` is not positive.
    """

    def __init__(self,
                 backbone: dict,
                 neck: dict,
                 head: dict,
                 radius: float = 16.,
                 low_pass: float = 0.5,
                 data_preprocessor: Optional[dict] = None,
                 init_cfg: Optional[dict] = None) -> None:
        if not 0 <= low_pass <= 1:
            raise ValueError(f'low_pass is a share of the images, from 0 to 1, not {low_pass}')
        if radius <= 0:
            raise ValueError(f'radius must be positive, not {radius}')
        super().__init__(backbone=backbone, neck=neck, head=head,
                         data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.radius = radius
        self.low_pass = low_pass

    def loss(self, inputs: Tensor, data_samples: Optional[list] = None) -> Dict[str, Tensor]:
        """The whole method.

        Args:
            inputs: Images (B, C, H, W), of pixels from 0 to 255 that ``data_preprocessor`` has
                normalised (or not, if it has no mean).
            data_samples: Not used; part of mmpretrain's interface.
        """
        kept = self.draw_filters(inputs)
        predictions = self.neck(self.backbone(self.filter(inputs, kept))[-1])
        return self.head(predictions, inputs, kept)

    def filter(self, images: Tensor, kept: Tensor) -> Tensor:
        """What the encoder sees of normalised images (B, C, H, W), normalised likewise."""
        mean = getattr(self.data_preprocessor, 'mean', images.new_zeros(()))
        std = getattr(self.data_preprocessor, 'std', images.new_ones(()))
        pixels = (images.float() * std + mean) / 255
        return (filter_images(pixels, kept) * 255 - mean) / std

    def draw_filters(self, images: Tensor) -> Tensor:
        """Draws which frequencies of each image are kept: bool (B, 1, H, W // 2 + 1)."""
        low = low_frequencies(tuple(images.shape[-2:]), self.radius, images.device, closed=False)
        wants_low = upload(torch.rand(images.shape[0], 1, 1, 1) < self.low_pass, images.device)
        return wants_low == low


@torch.no_grad()
def filter_images(images: Tensor, kept: Tensor) -> Tensor:
    """The images (B, C, H, W), in [0, 1], of the kept frequencies alone: float32, clamped to
    [0, 1]. A high-pass image has no mean, so that about half of it becomes zero."""
    with torch.autocast(images.device.type, enabled=False):
        spectrum = torch.fft.rfft2(images.float()) * kept
        return torch.fft.irfft2(spectrum, s=images.shape[-2:]).clamp(0, 1)


@MODELS.register_module()
class FrequencyHead(BaseModule):
    r"""Distance of two images in the frequencies that were taken away.

    .. math:: L = \frac{\sum_f m(f) \, |P(f) - X(f)|^\gamma}{\sum_f m(f)}

    with the orthonormal spectra P of the prediction and X of the image, averaged over channels,
    and m = 1 at frequencies that the filter took away.

    Source: as :class:`MFM`, its loss.

    Args:
        gamma: Exponent of the distance; 1 in the paper.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: ``gamma`` is not positive, or prediction and image differ in shape.

    Examples:
        >>> images = torch.rand(1, 3, 8, 8)
        >>> kept = torch.zeros(1, 1, 8, 5, dtype=torch.bool)  # the encoder could see nothing
        >>> FrequencyHead()(images, images, kept)['loss']
        tensor(0.)
    """

    def __init__(self, gamma: float = 1., init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        if gamma <= 0:
            raise ValueError(f'gamma must be positive, not {gamma}')
        self.gamma = gamma

    def forward(self, predictions: Tensor, images: Tensor, kept: Tensor) -> Dict[str, Tensor]:
        """``loss`` of predictions and images (B, C, H, W), in float32.

        Args:
            predictions: Predicted images.
            images: True images.
            kept: bool (B, 1, H, W // 2 + 1), the frequencies that the encoder could see.
        """
        if predictions.shape != images.shape:
            raise ValueError(f'prediction {tuple(predictions.shape)} and image '
                             f'{tuple(images.shape)} differ in shape')
        with torch.autocast(images.device.type, enabled=False):
            difference = torch.fft.rfft2(predictions.float() - images.float(), norm='ortho')
            distance = difference.abs().pow(self.gamma).mean(1, keepdim=True)
        # Half of the plane is stored; all columns but the first, and the last of an even width,
        # stand for a conjugate pair.
        weights = (~kept).float() * 2
        weights[..., 0] /= 2
        if images.shape[-1] % 2 == 0:
            weights[..., -1] /= 2
        return dict(loss=(distance * weights).sum() / weights.sum())
