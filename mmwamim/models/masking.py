"""Masks, and the plan of a step: what is masked and where each token goes. Pure functions.

One convention everywhere: a mask is a bool tensor (B or 1, rows, cols) of mask units, True means
masked. Random numbers are drawn on the CPU, so a seed gives the same masks on every device; all
that follows from them is computed on the device, with shapes that are known beforehand: no step
ever waits to read something back.
"""
import math
from numbers import Real
from typing import Any, NamedTuple, Optional, Tuple, Union

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from mmwamim.errors import UserError


def is_share(value: Any) -> bool:
    """Whether it is a number between 0 and 1, both excluded."""
    return isinstance(value, Real) and 0 < value < 1


def count_visible(units: int, ratio: float) -> int:
    """Number of visible units, floor(units * (1 - ratio)), the same for every image.

    Raises:
        ValueError: ``ratio`` lies outside (0, 1).
        UserError: It leaves nothing visible.
    """
    if not is_share(ratio):
        raise ValueError(f'mask_ratio must lie between 0 and 1, both excluded, not {ratio!r}')
    # 10 * (1 - 0.9) is 0.9999999999999998 in floating point, and 1 in truth.
    visible = math.floor(units * (1 - ratio) + 1e-9)
    if visible == 0:
        raise UserError(f'mask_ratio {ratio} leaves none of the {units} units visible: lower '
                         'mask_ratio, or use smaller mask units or larger images')
    return visible


def draw_mask(batch: int, grid: Tuple[int, int], ratio: float) -> Tensor:
    """Draws a uniformly random mask per image, all with the same number of masked units.

    Uses torch's global CPU generator, which MMEngine seeds for each process.

    Args:
        batch: Number of masks; 1 for one that a whole batch shares.
        grid: Rows and columns of mask units.
        ratio: Share of masked units, in (0, 1).

    Returns:
        bool (batch, rows, cols) on the CPU, True = masked.

    Raises:
        ValueError: As :func:`count_visible`.
    """
    visible = count_visible(grid[0] * grid[1], ratio)
    return mask_of_noise(torch.rand(batch, *grid), visible)


def count_predicted(units: int, visible: int, mask_ratio: float, predict_ratio: float) -> int:
    """Number of masked units that are predicted, if ``predict_ratio`` of all units are to be.

    As in CrossMAE's code the masked units that are not predicted are counted, rounded down:
    floor(units * (mask_ratio - predict_ratio)).

    Raises:
        ValueError: ``predict_ratio`` is not above 0 and at most ``mask_ratio``.
    """
    if not (is_share(predict_ratio) and predict_ratio <= mask_ratio):
        raise ValueError(f'predict_ratio is a share of all units, above 0 and at most mask_ratio = '
                         f'{mask_ratio}, not {predict_ratio!r}')
    return units - visible - math.floor(units * (mask_ratio - predict_ratio) + 1e-9)


def mask_of_noise(noise: Tensor, visible: int) -> Tensor:
    """The mask that leaves the units of the smallest values visible.

    Args:
        noise: float (B, rows, cols).
        visible: Visible units of each image.

    Returns:
        bool (B, rows, cols), the same on every device: of equal values the first counts as the
        smaller.
    """
    order = noise.flatten(1).argsort(dim=1, stable=True)
    mask = torch.ones_like(order, dtype=torch.bool)
    return mask.scatter(1, order[:, :visible], False).view_as(noise)


def rescale_mask(mask: Tensor, grid: Tuple[int, int]) -> Tensor:
    """Brings a mask to another grid: repeated up, area-averaged down.

    Args:
        mask: bool (B or 1, rows, cols).
        grid: Rows and columns of the target.

    Returns:
        float32 (B or 1, *grid) in [0, 1]: the masked share of each cell, the loss's weight.

    Raises:
        ValueError: The two grids do not divide each other.
    """
    weights = mask.float()
    for dim, size in ((1, grid[0]), (2, grid[1])):
        units = weights.shape[dim]
        if size % units and units % size:
            raise ValueError(f'a mask of {units} units cannot be rescaled to {size} target cells: '
                             'one must be a multiple of the other')
        if size < units:
            weights = weights.unflatten(dim, (size, units // size)).mean(dim + 1)
    return repeat_units(weights, grid[0] // weights.shape[1], grid[1] // weights.shape[2])


class MaskPlan(NamedTuple):
    """All that a step must know of its mask, on the device of the images. Immutable.

    Attributes:
        mask: bool (B or 1, rows, cols) of the encoder's mask units, True = masked.
        order: int64 (B or 1, rows * cols), the units in the order that encoders and decoders use:
            the visible ones in raster order, then the masked ones in raster order (those that are
            to be predicted ahead of the others).
        inverse: int64 (B or 1, rows * cols), the place of each unit in that order.
        visible: int64 (B or 1, visible), the first part of ``order``.
        masked: int64 (B or 1, rows * cols - visible), its second part.
        windows: For encoders with windows, which visible tokens attend together
            (:meth:`mmwamim.models.SparseSwin.plan_windows`); else None.
        num_predicted: How many of the masked units are to be predicted; None: all of them.
        draws: With partial decoding, what each level decodes
            (:class:`mmwamim.models.draws.LevelDraw`); else None.

    Examples:
        >>> mask = torch.tensor([[[True, False], [True, True]]])  # 2 x 2 units, one visible
        >>> plan = MaskPlan.from_mask(mask)
        >>> plan.order[:, :1]  # the visible unit first
        tensor([[1]])
    """
    mask: Tensor
    order: Tensor
    inverse: Tensor
    visible: Tensor
    masked: Tensor
    windows: Optional[tuple] = None
    num_predicted: Optional[int] = None
    draws: Optional[tuple] = None

    @classmethod
    def from_mask(cls, mask: Tensor, device: Optional[torch.device] = None) -> 'MaskPlan':
        """The plan of a mask of one's own. Reads the mask, so it is best on the CPU.

        Args:
            mask: bool (B or 1, rows, cols), True = masked.
            device: Where the images are; default: where the mask is.

        Raises:
            ValueError: The mask is not of that form, or its images have different numbers of
                visible units.
        """
        if mask.dim() != 3 or mask.dtype != torch.bool:
            raise ValueError(f'a mask must be bool (B or 1, rows, cols), not {mask.dtype} '
                             f'{tuple(mask.shape)}')
        counts = set((~mask).flatten(1).sum(1).tolist())
        if len(counts) > 1:
            raise ValueError('every image of a batch must have the same number of visible units, '
                             f'but mask has {sorted(counts)}')
        return cls.arrange(upload(mask, device or mask.device), counts.pop())

    @classmethod
    def arrange(cls, mask: Tensor, num_visible: int, windows: Optional[tuple] = None,
                predicted: Optional[Tensor] = None, num_predicted: Optional[int] = None
                ) -> 'MaskPlan':
        """The plan of a mask whose number of visible units is known; nothing is read.

        Args:
            mask: bool (B or 1, rows, cols), True = masked.
            num_visible: Visible units of each image.
            windows: As the attribute.
            predicted: bool (B or 1, rows, cols), the masked units that are to be predicted;
                default: all.
            num_predicted: How many these are in each image.
        """
        rank = mask.flatten(1).to(torch.uint8)
        if predicted is not None:
            rank = rank + (mask & ~predicted).flatten(1)
        order = rank.argsort(dim=1, stable=True)
        places = torch.arange(order.shape[1], device=order.device).expand_as(order)
        inverse = torch.empty_like(order).scatter(1, order, places)
        visible, masked = (part.contiguous() for part in order.tensor_split([num_visible], dim=1))
        return cls(mask, order, inverse, visible, masked, windows, num_predicted)

    @property
    def grid(self) -> Tuple[int, int]:
        """Rows and columns of units."""
        return self.mask.shape[1], self.mask.shape[2]

    @property
    def num_visible(self) -> int:
        """Visible units of each image."""
        return self.visible.shape[1]

    @property
    def predicted(self) -> Tensor:
        """int64 (B or 1, units), the masked units that are to be predicted, in raster order."""
        return self.masked[:, :self.num_predicted]

    @property
    def counted(self) -> Tensor:
        """bool (B or 1, rows, cols), True where the loss counts: as ``predicted``."""
        if self.num_predicted is None:
            return self.mask
        none = torch.zeros_like(self.mask).flatten(1)
        return none.scatter(1, self.predicted, True).view_as(self.mask)

    def refine(self, times: int) -> 'MaskPlan':
        """The plan of the tokens of a finer grid, ``times`` along each side of a mask unit."""
        if times == 1:
            return self
        mask, visible = repeat_units(self.mask, times, times), self.num_visible * times**2
        if self.num_predicted is None:
            return self.arrange(mask, visible)
        return self.arrange(mask, visible, predicted=repeat_units(self.counted, times, times),
                            num_predicted=self.num_predicted * times**2)

    def shares(self, grid: Tuple[int, int], batch: int, level: int = 0) -> Tensor:
        """How much each cell of a target counts in the loss.

        Args:
            grid: Rows and columns of the target.
            batch: Images; more than the plan has masks where they share one.
            level: Which one it is, of a plan with ``draws``.

        Returns:
            float32 (B or 1, *grid); over all ``batch`` images they sum to one, with ``draws`` in
            the mean over many. Their sum before that is known without adding them up: rescaling
            keeps the counted share of an image.

        Raises:
            ValueError: Nothing is masked, or the grids do not divide each other.
        """
        total = batch * grid[0] * grid[1] * self.predicted.shape[1] / self.order.shape[1]
        if total == 0:
            raise ValueError('nothing is masked, so there is nothing to predict')
        if self.draws is None:
            return rescale_mask(self.counted, grid) / total
        weights = self.draws[level].weights
        times = [size // cells for size, cells in zip(grid, weights.shape[1:])]
        return repeat_units(weights, *times) / total


def as_plan(plan: Union[MaskPlan, Tensor], device: torch.device) -> MaskPlan:
    """A plan as it is, and the plan of a bool mask (B or 1, rows, cols): the one door for masks of
    one's own into encoder, neck and head."""
    return plan if isinstance(plan, MaskPlan) else MaskPlan.from_mask(plan, device)


def repeat_units(mask: Tensor, rows: int, cols: int) -> Tensor:
    """Each unit of a mask (B or 1, R, C) as ``rows`` x ``cols`` smaller ones: (B or 1, R * rows,
    C * cols)."""
    return mask[:, :, None, :, None].expand(-1, -1, rows, -1, cols).flatten(3, 4).flatten(1, 2)


def upload(tree: Any, device: torch.device) -> Any:
    """Copies CPU tensors over at once, without making the host wait for the accelerator.

    Args:
        tree: A tensor, or nested tuples of tensors of one type (other values stay as they are).
        device: Where the copies go; what is there already is returned as it is.
    """
    leaves, form = tree_flatten(tree)
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    if all(tensor.device == device for tensor in tensors):
        return tree
    # One block of pinned memory: each one costs the host as much as a small kernel.
    packed = torch.cat([tensor.flatten() for tensor in tensors])
    if device.type == 'cuda' and packed.device.type == 'cpu':
        packed = packed.pin_memory()
    parts = iter(packed.to(device, non_blocking=True).split([t.numel() for t in tensors]))
    return tree_unflatten([next(parts).view(leaf.shape) if isinstance(leaf, Tensor) else leaf
                           for leaf in leaves], form)
