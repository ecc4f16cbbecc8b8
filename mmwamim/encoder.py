"""A pre-trained encoder as a plain module: ``encoder = mmwamim.load_encoder('encoder.pth')``."""
from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Union

import numpy as np
import torch
from mmengine.dataset import Compose, default_collate
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.models import VisionTransformer
from torch import Tensor, nn

from .commands.calls import as_a_call
from .datasets.collate import collate_images
from .datasets.given import Paths, Picture, SourceImages, channels_of, rgb_of, source_of
from .engine.config.values import check_integer
from .engine.export import programs
from .errors import UserError
from .evaluation.features import (
    encode,
    evaluation_pipeline,
    image_loader,
    image_size,
    pool_with,
    settle_pool,
)
from .interface.arguments import settled, settles_arguments
from .machine.devices import Device, check_device
from .weights.card import preprocessor_of


@settles_arguments
def load_encoder(checkpoint: Union[str, Path], config: Union[str, Path, None] = None,
                 device: Device = 'cpu', pool: Optional[str] = None) -> 'Encoder':
    """An encoder that was pre-trained or fine-tuned here, ready for images.

    Args:
        checkpoint: encoder.pth, or a full checkpoint of pre-training or fine-tuning.
        config: The run's config. Default: the one that the checkpoint carries.
        device: Where it computes.
        pool: ``'mean'``, of the patches, or ``'token'``, the class token, becomes the features.
            Default: what the classifier of a fine-tuned encoder was given, or the loss of
            pre-training (MoCo v3, iBOT: the token); where that is all tokens, the mean.

    Returns:
        The encoder in eval mode, without gradients (``encoder.requires_grad_()`` trains it on).

    Raises:
        MissingFile: There is no such file.
        UserError: It cannot be read, has no config, or does not belong to the config; it has no
            class token to pool; or a run is going on in another thread.

    Examples:
        >>> encoder = mmwamim.load_encoder('encoder.pth')  # doctest: +SKIP
        >>> encoder(encoder.preprocess(PIL.Image.open('cat.jpg'))).shape  # doctest: +SKIP
        torch.Size([1, 768])
        >>> encoder.embed(['cat.jpg', 'dog.jpg']).shape  # doctest: +SKIP
        (2, 768)
    """
    device = check_device(device)
    with as_a_call():  # a run that is beginning in another thread would draw other weights
        cfg = programs.run_config(checkpoint, config)
        backbone = programs.load_encoder(checkpoint, config)
        settle_pool(backbone, pool)
        preprocessor = MODELS.build(dict(preprocessor_of(cfg)))
        _return_levels(backbone, cfg.model.backbone.get('out_indices', -1))
        encoder = Encoder(backbone, preprocessor, cfg.get('value_range'), cfg.get('channels'))
    return encoder.to(device)


def _return_levels(backbone: nn.Module, levels: Union[int, Sequence[int]]) -> None:
    """Has a ViT return the levels of its pre-training, and the end; a Swin does already."""
    if isinstance(backbone, VisionTransformer):
        levels = [levels] if isinstance(levels, int) else levels
        backbone.out_indices = sorted({level % backbone.num_layers for level in (*levels, -1)})


class Encoder(nn.Module):
    """Images to features.

    Args:
        backbone: Returns feature maps, or tokens (B, 1 + N, width) where the class token is pooled;
            the last of them ends in the features.
        preprocessor: mmpretrain's, which normalises a batch.
        value_range: Of data deeper than 8 bits, as in ``mmwamim.LoadImage``.
        channels: Of files, where they are no colours, as of ``mmwamim.LoadChannels``.

    Attributes:
        size (int or tuple): Side of the images in pixels, that of the training; height and width
            of oblong ones.

    Raises:
        UserError: From a call: images are no batch of normalised floats.

    Examples:
        >>> encoder = mmwamim.load_encoder('encoder.pth')  # doctest: +SKIP
        >>> images = encoder.preprocess(PIL.Image.open('cat.jpg'))  # doctest: +SKIP
        >>> encoder(images).shape  # doctest: +SKIP
        torch.Size([1, 768])
        >>> len(encoder.features(images))  # doctest: +SKIP
        4
    """

    def __init__(self, backbone: nn.Module, preprocessor: nn.Module,
                 value_range: Optional[Sequence[float]] = None,
                 channels: Optional[int] = None) -> None:
        super().__init__()
        self.backbone = backbone
        height, width = image_size(backbone)
        self.size = height if height == width else (height, width)
        self._value_range, self._channels = value_range, channels
        self._normalise = preprocessor.forward  # no part of the module: stays on the CPU
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            load, *self._crop = evaluation_pipeline(self.size, value_range, channels)
            self._crop, self._read = Compose(self._crop), Compose([load, *self._crop])
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    def train(self, mode: bool = True) -> 'Encoder':
        """As of any module; mmpretrain's ViT forgets to return itself."""
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) to pooled features, float32 (B, width): the mean of the
        last level's map, or the class token. Sides may differ from ``size``; multiples of the
        patch or window fit."""
        self._check(images)
        return pool_with(self.backbone, encode(self.backbone, images))

    def features(self, images: Tensor) -> List[Tensor]:
        """Normalised images (B, C, H, W) to the feature maps (B, width, rows, columns) of each
        level that pre-training used, shallow to deep; the last one is after the final norm."""
        self._check(images)
        maps = encode(self.backbone, images)
        return [self._map(level, images) for level in (
            [maps] if isinstance(maps, Tensor) else maps)]

    def preprocess(self, images: Union[Picture, Sequence[Picture]]) -> Tensor:
        """What :meth:`forward` takes: resized so that it just covers 8 / 7 of ``size``, the centre
        crop, mean and deviation of the training.

        Args:
            images: One image or several: PIL images; arrays, uint8 (H, W, 3) or (H, W), RGB;
                tensors (3, H, W), uint8 or floats from 0 to 1; or a batch (B, ...) of either. Of an
                encoder of other ``channels``: arrays (H, W, channels), tensors (channels, H, W), in
                the order and with the values of the files of its training.

        Returns:
            (B, C, height, width) on the encoder's device and of its type, float32 unless it was
            changed (``encoder.half()``); of one image B is 1.

        Raises:
            UserError: An image is none of these.
        """
        batch = getattr(images, 'ndim', 0) == 4 or isinstance(images, (list, tuple, Iterator))
        images = list(images) if batch else [images]
        if not images:
            raise UserError('there is no image to preprocess: the list is empty')
        return self._batch([self._crop(self._sample(image)) for image in images])

    @torch.no_grad()
    def embed(self, paths: Paths, batch_size: int = 64, workers: int = 0) -> np.ndarray:
        """Pooled features of images.

        Args:
            paths: A file, a list of files, or a folder, whose images come sorted by path; or a
                table, tar shards, a Hugging Face data set or LMDB.
            batch_size: Images at a time.
            workers: Processes that read them; 0: none.

        Returns:
            float32 (N, width), in the order of the paths.

        Raises:
            UnreadableImage: Names the file that cannot be read, and the reason.
            UserError: There is no file.
        """
        batch_size, workers = settled('batch_size', batch_size, int), settled(
            'workers', workers, int)
        check_integer('batch_size', batch_size, 1)
        check_integer('workers', workers, 0)
        images = SourceImages(source_of(paths, self._channels), self._read)
        loader = image_loader(images, batch_size, workers, self.device, collate_images)
        return np.concatenate([self(self._prepare(batch)).cpu().numpy() for batch in loader])

    def _map(self, level: Tensor, images: Tensor) -> Tensor:
        """A level as a map: (B, 1 + rows columns, width) to (B, width, rows, columns)."""
        if level.dim() != 3:
            return level
        projection = self.backbone.patch_embed.projection
        rows = (images.shape[2] + 2 * projection.padding[0] - projection.kernel_size[0]
                ) // projection.stride[0] + 1
        patches = level[:, self.backbone.num_extra_tokens:].transpose(1, 2)
        return patches.unflatten(2, (rows, -1))

    def _check(self, images: Tensor) -> None:
        """Raises UserError unless images are a batch that the encoder takes, in kind and shape."""
        channels = self.backbone.patch_embed.projection.in_channels
        if not isinstance(images, Tensor) or not images.is_floating_point() or images.dim() != 4 \
                or images.shape[1] != channels or not images.numel():
            kind = f'{images.dtype} {tuple(images.shape)}' if isinstance(images, Tensor) \
                else type(images).__name__
            raise UserError(f'images: the encoder takes normalised floats (B, {channels}, H, W), '
                            f'not {kind}; encoder.preprocess makes them of pictures')
        weight = self.backbone.patch_embed.projection.weight
        cast = torch.is_autocast_enabled(weight.device.type) and images.dtype != torch.float64
        if images.device != weight.device or images.dtype != weight.dtype and not cast:
            raise UserError(f'images: {images.dtype} on {images.device} does not go into an '
                            f'encoder of {weight.dtype} on {weight.device}: images.to('
                            f'encoder.device, {weight.dtype}); encoder.preprocess gives such')

    def _sample(self, image: Picture) -> dict:
        if self._channels is None:
            pixels = np.ascontiguousarray(rgb_of(image, self._value_range)[..., ::-1])
        else:
            pixels = channels_of(image, self._channels, self._value_range)
        return dict(img=pixels, img_shape=pixels.shape[:2], ori_shape=pixels.shape[:2])

    def _batch(self, samples: List[dict]) -> Tensor:
        return self._prepare(default_collate(samples))

    def _prepare(self, batch: dict) -> Tensor:
        images = self._normalise(dict(batch, inputs=batch['inputs'].cpu()))['inputs']
        return images.to(self.backbone.patch_embed.projection.weight)  # in device and type
