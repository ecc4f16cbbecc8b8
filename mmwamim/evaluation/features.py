"""Features of frozen encoders: images of a split, read by workers, pooled level by level."""
import inspect
from numbers import Integral
from typing import Callable, List, Optional, Sequence, Tuple, Union

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.utils import to_2tuple
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from mmwamim.datasets import ClassFolders, UnlabelledImages, collate_images
from mmwamim.datasets.crop import Size
from mmwamim.datasets.listing import readable_endings
from mmwamim.errors import UserError
from mmwamim.interface.progress import Progress
from mmwamim.interface.words import option
from mmwamim.machine.cores import granted_cores

# Read from here by everything that judges features.
from .judges import effective_rank, knn_accuracy, linear_accuracy  # noqa: F401


def pool_features(outputs: Union[Tensor, Sequence[Tensor]], num_extra_tokens: int = 0) -> Tensor:
    """The mean of the last level's patch tokens; arguments as of :func:`pool_levels`.

    Returns:
        float32 (B, C).
    """
    last = outputs if isinstance(outputs, Tensor) else outputs[-1]
    return pool_levels(last, num_extra_tokens)[0]


def pool_levels(outputs: Union[Tensor, Sequence[Tensor]], num_extra_tokens: int = 0,
                token: bool = False) -> List[Tensor]:
    """The mean of the patch tokens of every level, or its class token.

    Args:
        outputs: What a backbone returns, one or several levels: each is a map (B, C, H, W),
            tokens (B, extra + N, C), or already (B, C).
        num_extra_tokens: Tokens ahead of the patches, which are left out.
        token: Whether to take the first of those in place of the mean, where tokens are given.

    Returns:
        float32 (B, C) for each level.
    """
    pooled = []
    for level in [outputs] if isinstance(outputs, Tensor) else outputs:
        if level.dim() == 4:
            level = level.mean((2, 3))
        elif level.dim() == 3:
            level = level[:, 0] if token else level[:, num_extra_tokens:].mean(1)
        pooled.append(level.float())
    return pooled


def settle_pool(backbone: nn.Module, pool: Optional[str] = None) -> None:
    """Has an encoder return what :func:`pool_with` pools.

    Args:
        backbone: From :func:`mmwamim.engine.export.programs.load_encoder`.
        pool: ``'mean'`` of the patches or class ``'token'``. Default: as it was trained.

    Raises:
        UserError: It is neither, or the encoder has no class token.
    """
    if pool not in (None, 'mean', 'token'):
        raise UserError(f"{option('pool')} must be 'mean' or 'token', not {pool!r}")
    if pool is not None:
        backbone.pools_token = pool == 'token'
    if getattr(backbone, 'pools_token', False):
        if getattr(backbone, 'cls_token', None) is None:
            raise UserError(f'{option("pool")}: this {type(backbone).__name__} has no class '
                            'token, the mean alone')
        backbone.out_type = 'raw'


def pool_with(backbone: nn.Module, outputs: Union[Tensor, Sequence[Tensor]]) -> Tensor:
    """One vector of what an encoder returns: the mean of the last level's patches, or its class
    token (:func:`settle_pool`); with the norm after pooling that it was fine-tuned with, if there
    is one (``ln2`` of mmpretrain's ViT).

    Returns:
        float32 (B, C).
    """
    if getattr(backbone, 'pools_token', False):
        pooled = outputs[-1][:, 0].float()
    else:
        pooled = pool_features(outputs, getattr(backbone, 'num_extra_tokens', 0))
    norm = getattr(backbone, 'ln2', None)
    return pooled if norm is None else norm(pooled)


def encode(backbone: nn.Module, inputs: Tensor) -> Union[Tensor, Sequence[Tensor]]:
    """The features of whole images, also from pre-training encoders that mask by default."""
    if 'mask' in inspect.signature(backbone.forward).parameters:
        return backbone(inputs, mask=None)
    return backbone(inputs)


def evaluation_pipeline(size: Size, value_range: Optional[Sequence[float]] = None,
                        channels: Optional[int] = None) -> list:
    """Transforms from a path to a centre crop of ``size``, of a picture that just covers
    :func:`size_before_crop`.

    Args:
        size: Side in pixels, or height and width.
        value_range: Of data deeper than 8 bits, as in ``mmwamim.LoadImage``.
        channels: As of ``mmwamim.LoadChannels``; None: colours.
    """
    load = dict(type='mmwamim.LoadImage') if channels is None else \
        dict(type='mmwamim.LoadChannels', channels=channels)
    # Colours as Pillow resizes them, so that features are comparable to the last digit; Pillow
    # takes no other numbers of channels.
    return [
        dict(load, value_range=value_range),
        dict(type='mmwamim.ResizeEdge', scale=size_before_crop(size), edge='short',
             interpolation='bicubic', backend='pillow' if channels is None else 'torch'),
        dict(type='mmpretrain.CenterCrop', crop_size=to_2tuple(size)[::-1]),
        dict(type='mmpretrain.PackInputs'),
    ]


def size_before_crop(size: Size) -> Tuple[int, int]:
    """Height and width that a picture covers before a centre crop of ``size``."""
    height, width = to_2tuple(size)
    return round(height * 8 / 7), round(width * 8 / 7)


def image_size(backbone) -> Tuple[int, int]:
    """(H, W) of the images that an encoder was built for."""
    size = getattr(backbone, 'img_size', None)
    if size is None:
        patch = backbone.patch_embed.projection.stride[0]
        size = [cells * patch for cells in backbone.patch_resolution]
    return (size, size) if isinstance(size, Integral) else tuple(size)


def known_image_size(backbone) -> Optional[Tuple[int, int]]:
    """:func:`image_size`; None if the encoder, of another package, does not say."""
    try:
        return image_size(backbone)
    except AttributeError:
        return None


class LabelledImages:
    """Images of one split with labels, as tensors for an encoder.

    Args:
        folder: Holds <class>/* for labels, or images alone; or a table, shards or a data base
            (:func:`mmwamim.datasets.sources.open_source`).
        size: Of the centre crop, as of :func:`evaluation_pipeline`.
        most: At most as many images, spread evenly over the folder.
        with_label: Whether folders are classes.
        classes: The list of classes, which fixes the labels: that of the training split. Default:
            the folders of this one.
        value_range: Of data deeper than 8 bits, as in ``mmwamim.LoadImage``.
        split: Of ``folder``, where labels are wanted.
        channels: As of ``mmwamim.LoadChannels``; None: colours.
        column: The column of paths or images, where ``folder`` has columns.
        label_column: The column of classes there.
        held_out: As of ``mmwamim.ClassFolders``.
        takes: As of ``mmwamim.ClassFolders``.

    Raises:
        NoImages: There is no such folder, or no image in it.
        UserError: A folder belongs to no class of the list.
    """

    def __init__(self, folder: str, size: Size, most: Optional[int] = None,
                 with_label: bool = True, classes: Optional[Sequence[str]] = None,
                 value_range: Optional[Sequence[float]] = None, split: str = '',
                 channels: Optional[int] = None, column: Optional[str] = None,
                 label_column: Optional[str] = None, held_out: Optional[float] = None,
                 takes: str = 'rest') -> None:
        fields = dict(pipeline=evaluation_pipeline(size, value_range, channels), test_mode=True,
                      extensions=channels and (*readable_endings(), '.npy'), column=column)
        self.images = ClassFolders(folder, split, classes=classes, label_column=label_column,
                                   held_out=held_out, takes=takes,
                                   **fields) \
            if with_label else UnlabelledImages(folder, **fields)
        self.pipeline = self.images.pipeline
        total = len(self.images)
        count = min(most or total, total)
        self.chosen = [position * total // count for position in range(count)]

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def classes(self) -> Optional[Sequence[str]]:
        """Names of the classes, in the order of their labels."""
        return self.images.CLASSES

    @property
    def description(self) -> str:
        """What was taken and what was left out."""
        return self.images.description

    @property
    def labels(self) -> Tensor:
        """int64 (N,)."""
        return torch.from_numpy(self.images.get_gt_labels()[self.chosen]) \
            if self.images.with_label else torch.full((len(self), ), -1)

    def __getitem__(self, position: int) -> dict:
        return self.images[self.chosen[position]]


def extract_features(backbone: nn.Module, preprocessor: nn.Module, images: LabelledImages,
                     batch_size: int = 64, progress: bool = False,
                     num_workers: int = 0) -> Tuple[Tensor, Tensor]:
    """Features of all images from the last level; otherwise as :func:`extract_levels`.

    Returns:
        Features float32 (N, C) and labels int64 (N,), the same on every process.
    """
    levels, labels = extract_levels(backbone, preprocessor, images, batch_size, progress,
                                    num_workers)
    return levels[-1], labels


@torch.no_grad()
def extract_levels(backbone: nn.Module, preprocessor: nn.Module, images: LabelledImages,
                   batch_size: int = 64, progress: bool = False,
                   num_workers: int = 0) -> Tuple[List[Tensor], Tensor]:
    """Features of all images, in their order, on the CPU; shared out among the processes.

    They are computed where the backbone is, while workers read the next images. No random number
    is drawn, so training goes on as if nothing had happened.

    Args:
        backbone: The encoder.
        preprocessor: Of its images.
        images: Samples by index, and ``labels``.
        batch_size: Images of a process at a time.
        progress: Whether to say how far it is.
        num_workers: Processes that read images, for each process; 0: none.

    Returns:
        Features float32 (N, C), one tensor for each level that the backbone returns, and labels
        int64 (N,), the same on every process.
    """
    device = next(backbone.parameters()).device
    was_training = backbone.training
    backbone.eval()
    # As many on every process, the first ones again: they may have to gather weights together.
    share = -(-len(images) // get_world_size())
    mine = [(get_rank() + turn * get_world_size()) % len(images) for turn in range(share)]
    loader = image_loader(Subset(images, mine), batch_size, num_workers, device, collate_images)
    extra = getattr(backbone, 'num_extra_tokens', 0)
    token = getattr(backbone, 'pools_token', False)  # as mmwamim.Encoder
    parts, ahead, told = [], None, Progress(len(mine), 'images')
    for number, batch in enumerate(loader, start=1):
        inputs = preprocessor(batch)['inputs'].to(device, non_blocking=True)
        computed = pool_levels(encode(backbone, inputs), extra, token)
        if ahead is not None:  # copied while the device has the next batch
            parts.append([level.cpu() for level in ahead])
        ahead = computed
        if progress and get_rank() == 0:
            told(min(number * batch_size, len(mine)))
    if ahead is not None:
        parts.append([level.cpu() for level in ahead])
    backbone.train(was_training)
    shares = all_gather_object((mine, [torch.cat(level) for level in zip(*parts)]))
    widths = next([level.shape[1] for level in levels] for _, levels in shares if levels)
    features = [torch.empty(len(images), width) for width in widths]
    for places, levels in shares:
        for whole, part in zip(features, levels):
            whole[places] = part
    return features, images.labels


def image_loader(images: Dataset, batch_size: int, num_workers: int, device: torch.device,
                 collate: Callable) -> DataLoader:
    """A loader in the images' order, with as many workers as there are batches for at most. It
    draws its seeds from a generator of its own, and leaves torch's alone."""
    batches = -(-len(images) // batch_size)
    return DataLoader(images, batch_size, num_workers=min(num_workers, batches),
                      collate_fn=collate, pin_memory=torch.device(device).type == 'cuda',
                      generator=torch.Generator().manual_seed(0))


def default_workers(most: int = 8) -> int:
    """Workers for a tool that has the machine for itself: one a core it may use, up to a limit."""
    return min(most, granted_cores())
