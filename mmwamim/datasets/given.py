"""What a caller hands to an encoder: places and files, or pictures that are open already."""
import os
from pathlib import Path
from typing import Any, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmengine.dataset import Compose
from PIL import Image
from torch import Tensor

from mmwamim.errors import UserError
from mmwamim.interface.outputs import at_home

from .channels import as_channels
from .listing import readable_endings
from .paths import PackedPaths
from .pixels import Refused, to_rgb
from .sources import ListedSource, Source, open_all

Picture = Union[Image.Image, np.ndarray, Tensor]
Paths = Union[str, Path, Sequence[Union[str, Path]]]


class SourceImages(torch.utils.data.Dataset):
    """Samples of images, for a loader."""

    def __init__(self, source: Source, read: Compose) -> None:
        self.source, self.read = source, read

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict:
        record, data = dict(img_path=self.source.key(index)), self.source.read(index)
        return self.read(record if data is None else dict(record, img_bytes=data))


def source_of(paths: Paths, channels: Optional[int]) -> Source:
    """The images of a place, as ``--data`` takes, or of a list of files.

    Raises:
        UserError: It is neither, or there are none.
    """
    if isinstance(paths, (str, bytes, os.PathLike)):
        source = open_all(os.fsdecode(paths), (*readable_endings(), '.npy') if channels else None)
    else:
        try:
            files = [at_home(os.fsdecode(path)) for path in paths]
        except TypeError:
            given = type(next(iter(paths), None) if isinstance(paths, (list, tuple)) else paths)
            raise UserError(
                f'paths: give a file, a list of files or a folder, not {given.__name__}; pictures '
                'go to encoder(encoder.preprocess(pictures))') from None
        source = ListedSource(PackedPaths.from_strings(files), '')
    if not len(source):
        raise UserError('there is no image to embed: the list or folder is empty')
    return source


def channels_of(image: Any, channels: int, value_range: Optional[Tuple[float, float]]
                ) -> np.ndarray:
    """(H, W, channels) of a picture, as it is read from a file."""
    if not isinstance(image, (Image.Image, np.ndarray, Tensor)):
        raise UserError(f'images: {type(image).__name__} is no image: give arrays '
                        f'(H, W, {channels}) or tensors ({channels}, H, W); files go to '
                        'encoder.embed(paths)')
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        image = image.movedim(0, -1) if image.dim() == 3 else image
    try:
        return as_channels(np.asarray(image), channels, value_range)
    except Refused as error:
        raise UserError(f'images: {error}') from error


def rgb_of(image: Any, value_range: Optional[Tuple[float, float]]) -> np.ndarray:
    """uint8 (H, W, 3) of any picture."""
    if isinstance(image, Image.Image):
        try:
            return to_rgb(image, value_range)
        except Refused as error:
            raise UserError(f'images: {error}') from error
        except Exception as error:  # decoders raise whatever they like of a file that is damaged
            raise UserError(f'images: {getattr(image, "filename", "")} cannot be read: '
                            f'{type(error).__name__}: {error}') from error
    if isinstance(image, (Tensor, np.ndarray)) and 0 in image.shape:
        raise UserError(f'images: there is no pixel in an image of the shape {tuple(image.shape)}')
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        if image.is_floating_point():
            if not (image.min() >= 0 and image.max() <= 1):  # as of NaN
                raise UserError(
                    'images: a tensor of floats must lie between 0 and 1, not '
                    f'{float(image.min()):.3g} to {float(image.max()):.3g}; one that is '
                    'normalised already goes straight to encoder(images)')
            image = (image * 255).round().to(torch.uint8)
        image = image.numpy().transpose(1, 2, 0) if image.dim() == 3 else image.numpy()
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, 'dtype', type(image).__name__)
        raise UserError(f'images: {kind} is no image: give PIL images, uint8 arrays (H, W, 3), or '
                        'tensors (3, H, W); files go to encoder.embed(paths)')
    if image.ndim == 2 or image.ndim == 3 and image.shape[2] == 1:
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3:
        raise UserError('images: an array is (H, W, 3) or (H, W) and a tensor (3, H, W), not of '
                        f'the shape {tuple(image.shape)} (H, W, channels)')
    return image
