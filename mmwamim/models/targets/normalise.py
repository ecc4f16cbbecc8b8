"""Zero mean and unit variance, in the ways that targets use; and back."""
import math
from numbers import Real
from operator import index
from typing import Any, Optional, Sequence, Tuple

from torch import Tensor


def statistics(target: Tensor, norm: str, eps: float) -> Tuple[Tensor, Tensor]:
    """Mean and standard deviation that a target (B, C, rows, cols) is normalised by.

    Args:
        target: The raw target.
        norm: 'token': over the channels of each position; 'subband': over the positions of each
            image and channel; 'none': zero and one.
        eps: Added to the (unbiased) variance.
    """
    if norm == 'none':
        return target.new_zeros(()), target.new_ones(())
    return standardise(target, (1,) if norm == 'token' else (2, 3), eps)


def standardise(x: Tensor, dims: Sequence[int], eps: float) -> Tuple[Tensor, Tensor]:
    """Mean and standard deviation (unbiased) over ``dims``, which stay as ones.

    Raises:
        ValueError: There is one value, whose deviation is unknown.
    """
    count = math.prod([x.shape[dim] for dim in dims])
    if count == 1:
        raise ValueError(f'a target of shape {tuple(x.shape)} cannot be brought to unit variance '
                         f'over axes {tuple(dims)}, where it has one value: use larger images, '
                         'finer levels or another norm')
    mean = x.mean(dims, keepdim=True)
    # Sums over the channels, not torch's var: on the CPU that is ten times slower along dim 1.
    variance = (x - mean).square().sum(dims, keepdim=True) / (count - 1)
    return mean, (variance + eps).sqrt()


def normalise(target: Tensor, norm: str, eps: float) -> Tensor:
    """The target (B, C, rows, cols), normalised."""
    if norm == 'none':
        return target
    mean, std = statistics(target, norm, eps)
    return (target - mean) / std


def check_norm(norm: str, known: Tuple[str, ...]) -> None:
    """Raises ValueError if ``norm`` is none of the known."""
    if norm not in known:
        raise ValueError(f'norm must be one of {", ".join(known)}, not {norm!r}')


def check_eps(eps: float) -> None:
    """Raises ValueError unless ``eps`` can be added to a variance."""
    if not (is_number(eps) and 0 <= eps < math.inf):
        raise ValueError(f'eps must be a finite number of at least 0, not {eps!r}')


def check_compand(compand: Optional[float]) -> None:
    """Raises ValueError unless ``compand`` is a positive number or None."""
    if compand is not None and not (is_number(compand) and 0 < compand < math.inf):
        raise ValueError(f'compand must be positive or None, not {compand!r}')


def is_number(value: Any) -> bool:
    """Whether a field holds a real number, and neither True nor False."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_strides(grid_strides) -> Tuple[int, ...]:
    """The strides as a tuple.

    Raises:
        ValueError: They are not positive integers, finest first, each dividing the next or equal
            to it.
    """
    try:
        strides = tuple(map(index, grid_strides))
    except TypeError:
        strides = ()
    if not strides or strides[0] < 1 or any(
            b < a or b % a for a, b in zip(strides, strides[1:])):
        raise ValueError('grid_strides must be positive and not falling, each a multiple of the '
                         f'one before, such as (4, 8, 16, 32), not {grid_strides}')
    return strides
