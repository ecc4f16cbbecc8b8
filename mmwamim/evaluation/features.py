"""What frozen features are worth: k-NN accuracy with labels, effective rank without."""
import inspect
import sys
import time
from typing import List, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from mmengine.dataset import default_collate
from mmengine.dist import all_gather_object, get_rank, get_world_size
from torch import Tensor, nn

from mmwamim.datasets import ClassFolders, UnlabelledImages


def pool_features(outputs: Union[Tensor, Sequence[Tensor]], num_extra_tokens: int = 0) -> Tensor:
    """The mean of the last level's patch tokens; arguments as of :func:`pool_levels`.

    Returns:
        float32 (B, C).
    """
    last = outputs if isinstance(outputs, Tensor) else outputs[-1]
    return pool_levels(last, num_extra_tokens)[0]


def pool_levels(outputs: Union[Tensor, Sequence[Tensor]], num_extra_tokens: int = 0
                ) -> List[Tensor]:
    """The mean of the patch tokens of every level.

    Args:
        outputs: What a backbone returns, one or several levels: each is a map (B, C, H, W),
            tokens (B, extra + N, C), or already (B, C).
        num_extra_tokens: Tokens ahead of the patches, which are left out.

    Returns:
        float32 (B, C) for each level.
    """
    pooled = []
    for level in [outputs] if isinstance(outputs, Tensor) else outputs:
        if level.dim() == 4:
            level = level.mean((2, 3))
        elif level.dim() == 3:
            level = level[:, num_extra_tokens:].mean(1)
        pooled.append(level.float())
    return pooled


def knn_accuracy(bank: Tensor, bank_labels: Tensor, queries: Tensor, query_labels: Tensor,
                 k: int = 20, temperature: float = 0.07) -> float:
    """Accuracy of a weighted vote of the k nearest neighbours by cosine similarity.

    A neighbour of similarity s votes with ``exp(s / temperature)``.
    Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination".

    Args:
        bank: Features of known labels, (N, C).
        bank_labels: int64 (N,).
        queries: Features to classify, (M, C).
        query_labels: int64 (M,).
        k: Neighbours, at most N are used.
        temperature: Of the votes.

    Returns:
        Percent of right queries.

    Raises:
        ValueError: There is nothing to compare.
    """
    if len(bank) == 0 or len(queries) == 0:
        raise ValueError(f'k-NN needs images on both sides, not {len(bank)} and {len(queries)}')
    bank, queries = F.normalize(bank.float(), dim=1), F.normalize(queries.float(), dim=1)
    classes = int(max(bank_labels.max(), query_labels.max())) + 1
    right = 0
    for part, labels in zip(queries.split(1024), query_labels.split(1024)):
        similarity, nearest = (part @ bank.T).topk(min(k, len(bank)), dim=1)
        votes = torch.zeros(len(part), classes, device=part.device)
        votes.scatter_add_(1, bank_labels[nearest], (similarity / temperature).exp())
        right += int((votes.argmax(1) == labels).sum())
    return 100 * right / len(queries)


def linear_accuracy(bank: Tensor, bank_labels: Tensor, queries: Tensor, query_labels: Tensor,
                    weight_decay: float = 1e-3, steps: int = 200) -> float:
    """Accuracy of logistic regression on frozen features, which are standardised first.

    The optimum is found by L-BFGS, so that no rate, schedule or seed matters.

    Args:
        bank: Features to learn from, (N, C).
        bank_labels: int64 (N,).
        queries: Features to classify, (M, C).
        query_labels: int64 (M,).
        weight_decay: Factor of the squared weights, next to the mean cross entropy.
        steps: At most as many iterations.

    Returns:
        Percent of right queries.

    Raises:
        ValueError: There is nothing to learn from or to classify.
    """
    if len(bank) == 0 or len(queries) == 0:
        raise ValueError(f'linear probing needs images on both sides, not {len(bank)} and '
                         f'{len(queries)}')
    std, mean = torch.std_mean(bank.float(), dim=0)
    scale = std.clamp_min(1e-6)
    bank, queries = (bank.float() - mean) / scale, (queries.float() - mean) / scale
    classes = int(max(bank_labels.max(), query_labels.max())) + 1
    weight = bank.new_zeros(classes, bank.shape[1], requires_grad=True)
    bias = bank.new_zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn='strong_wolfe')

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.linear(bank, weight, bias), bank_labels) \
            + weight_decay * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    predicted = F.linear(queries, weight.detach(), bias.detach()).argmax(1)
    return 100 * float((predicted == query_labels).float().mean())


def encode(backbone: nn.Module, inputs: Tensor) -> Union[Tensor, Sequence[Tensor]]:
    """The features of whole images, also from pre-training encoders that mask by default."""
    if 'mask' in inspect.signature(backbone.forward).parameters:
        return backbone(inputs, mask=None)
    return backbone(inputs)


def effective_rank(features: Tensor) -> float:
    """How many directions the features use: exp of the entropy of the normalised singular values.

    Features are centred first. Source: Roy & Vetterli, "The effective rank: a measure of
    effective dimensionality".

    Args:
        features: (N, C), N at least 2.

    Returns:
        From 1 (all on one line) to min(N - 1, C); 0 where all features are the same.
    """
    if len(features) < 2:
        raise ValueError(f'the effective rank needs at least 2 features, not {len(features)}')
    centred = features.double() - features.double().mean(0)
    values = torch.linalg.svdvals(centred)
    # What is left of equal features after centring is rounding, not a direction.
    values = values[values > values.new_tensor(1e-12) * features.double().norm()]
    if len(values) == 0:
        return 0.
    shares = values / values.sum()
    return float((-(shares * shares.log()).sum()).exp())


def evaluation_pipeline(size: int, value_range: Optional[Sequence[float]] = None) -> list:
    """Transforms from a path to a centre crop of ``size`` px, of a short side of 8 / 7 of it.

    Args:
        size: Side in pixels.
        value_range: Of data deeper than 8 bits, as in ``mmwamim.LoadImage``.
    """
    return [
        dict(type='mmwamim.LoadImage', value_range=value_range),
        dict(type='mmpretrain.ResizeEdge', scale=round(size * 8 / 7), edge='short',
             backend='pillow', interpolation='bicubic'),
        dict(type='mmpretrain.CenterCrop', crop_size=size),
        dict(type='mmpretrain.PackInputs'),
    ]


def image_side(backbone) -> int:
    """The image side that an encoder was built for."""
    size = getattr(backbone, 'img_size', None)
    if size is None:
        patch = backbone.patch_embed.projection.stride[0]
        size = [cells * patch for cells in backbone.patch_resolution]
    return size if isinstance(size, int) else min(size)


class LabelledImages:
    """Images of one split with labels, as tensors for an encoder.

    Args:
        folder: Holds <class>/* for labels, or images alone.
        size: Side of the centre crop, in pixels; the short side is 8 / 7 of it before.
        most: At most as many images, spread evenly over the folder.
        with_label: Whether folders are classes.
        classes: The list of classes, which fixes the labels: that of the training split. Default:
            the folders of this one.
        value_range: Of data deeper than 8 bits, as in ``mmwamim.LoadImage``.

    Raises:
        NoImages: There is no such folder, or no image in it.
        UserError: A folder belongs to no class of the list.
    """

    def __init__(self, folder: str, size: int, most: Optional[int] = None,
                 with_label: bool = True, classes: Optional[Sequence[str]] = None,
                 value_range: Optional[Sequence[float]] = None) -> None:
        pipeline = evaluation_pipeline(size, value_range)
        self.images = ClassFolders(folder, classes=classes, pipeline=pipeline, test_mode=True) \
            if with_label else UnlabelledImages(folder, pipeline=pipeline, test_mode=True)
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
        return torch.tensor([self.images.get_data_info(i).get('gt_label', -1)
                             for i in self.chosen])

    def __getitem__(self, position: int) -> dict:
        return self.images[self.chosen[position]]


def extract_features(backbone: nn.Module, preprocessor: nn.Module, images: LabelledImages,
                     batch_size: int = 64, progress: bool = False) -> Tuple[Tensor, Tensor]:
    """Features of all images from the last level; otherwise as :func:`extract_levels`.

    Returns:
        Features float32 (N, C) and labels int64 (N,), the same on every process.
    """
    levels, labels = extract_levels(backbone, preprocessor, images, batch_size, progress)
    return levels[-1], labels


@torch.no_grad()
def extract_levels(backbone: nn.Module, preprocessor: nn.Module, images: LabelledImages,
                   batch_size: int = 64, progress: bool = False) -> Tuple[List[Tensor], Tensor]:
    """Features of all images, in their order, on the CPU; shared out among the processes.

    No random number is drawn, so training goes on as if nothing had happened.

    Returns:
        Features float32 (N, C), one tensor for each level that the backbone returns, and labels
        int64 (N,), the same on every process.
    """
    device = next(backbone.parameters()).device
    was_training = backbone.training
    backbone.eval()
    mine = list(range(get_rank(), len(images), get_world_size()))
    parts, started = [], time.time()
    for first in range(0, len(mine), batch_size):
        batch = default_collate([images[i] for i in mine[first:first + batch_size]])
        inputs = preprocessor(batch)['inputs'].to(device)
        extra = getattr(backbone, 'num_extra_tokens', 0)
        parts.append([level.cpu() for level in pool_levels(encode(backbone, inputs), extra)])
        if progress and get_rank() == 0:
            done = min(first + batch_size, len(mine))
            left = (time.time() - started) / done * (len(mine) - done)
            print(f'\r{done}/{len(mine)} images, {left:.0f} s left ', end='', file=sys.stderr)
    backbone.train(was_training)
    shares = all_gather_object((mine, [torch.cat(level) for level in zip(*parts)]))
    widths = next([level.shape[1] for level in levels] for _, levels in shares if levels)
    features = [torch.empty(len(images), width) for width in widths]
    for places, levels in shares:
        for whole, part in zip(features, levels):
            whole[places] = part
    return features, images.labels
