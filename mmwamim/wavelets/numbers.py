"""In which numbers a transform computes, and what it takes and gives."""
from functools import reduce
from operator import index
from typing import Any, Callable, Dict, Optional

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map


def computed(core: Callable, data: Any, *args, double: bool) -> Any:
    """``core(data, *args)`` in float32 or float64: coefficients are small differences of large
    numbers, and half precision would leave little of them.

    Args:
        core: A transform, named after the public function but for an underscore.
        data: A tensor, or tensors in lists, tuples and dicts; None where there is none.
        args: What else ``core`` takes.
        double: Compute in float64. Float64 data always are.

    Returns:
        What ``core`` returns, in the number type of the data; in float32 for integers.

    Raises:
        TypeError: A leaf of ``data`` is no dense torch tensor, or a complex one.
        ValueError: There is no tensor at all.
    """
    nested = isinstance(data, (list, tuple, dict))
    tensors = [leaf for leaf in tree_leaves(data) if leaf is not None] if nested else [data]
    if not tensors:
        raise ValueError('no coefficients were given: at least one level is needed')
    for tensor in tensors:
        _check_type(tensor, core.__name__.lstrip('_'))
    given = reduce(torch.promote_types, [tensor.dtype for tensor in tensors])
    if not given.is_floating_point:
        given = torch.float32
    computing = torch.float64 if double or given == torch.float64 else torch.float32
    return _cast(core(_cast(data, computing), *args), given)


def _cast(data: Any, dtype: torch.dtype) -> Any:
    return tree_map(lambda leaf: leaf if leaf is None else leaf.to(dtype), data)


def _check_type(tensor: Any, name: str) -> None:
    if not isinstance(tensor, Tensor):
        hint = ': torch.from_numpy(x) makes one of it' if isinstance(tensor, np.ndarray) else ''
        raise TypeError(f'{name} takes torch tensors, not '
                        f'{type(tensor).__module__}.{type(tensor).__qualname__}{hint}')
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized:
        kind = 'quantized' if tensor.is_quantized else 'nested' if tensor.is_nested else 'sparse'
        raise TypeError(f'{name} takes dense tensors, not {kind} ones')
    if tensor.is_complex():
        raise TypeError(f'{name} takes real tensors, not {tensor.dtype}: transform x.real and '
                        'x.imag one after the other')


def check_images(x: Any, ndim: int) -> None:
    """Raises unless ``x`` is one tensor with at least ``ndim`` axes and no empty one among the
    last ``ndim``."""
    if not isinstance(x, Tensor):
        raise TypeError(f'one tensor is transformed, not a {type(x).__name__} of them')
    if x.dim() < ndim or not all(x.shape[-ndim:]):
        raise ValueError(f'the last {ndim} axes are transformed and need at least one value each, '
                         f'but the shape is {tuple(x.shape)}')


def check_bands(bands: Dict[str, Optional[Tensor]], ndim: int, where: str) -> None:
    """Raises unless all subbands are there and of one shape that has at least ``ndim`` axes.

    Args:
        bands: A tensor, or None, for each name.
        ndim: How many axes are transformed.
        where: What the message begins with, such as 'idwt2' or 'waverec2, level 2'.
    """
    missing = [name for name, band in bands.items() if band is None]
    if missing:
        raise ValueError(f'{where}: {", ".join(bands)} are needed, but {", ".join(missing)} '
                         f'{"is" if len(missing) == 1 else "are"} missing')
    (first, band), *others = bands.items()
    for name, other in others:
        if other.shape != band.shape:
            raise ValueError(f'{where}: the subbands must have one shape, but {first} has '
                             f'{tuple(band.shape)} and {name} {tuple(other.shape)}')
    check_images(band, ndim)


def whole(value: Any, name: str, least: int) -> int:
    """``value`` as a Python integer; raises ValueError unless it is one of at least ``least``, and
    neither True nor False."""
    try:
        number = least - 1 if isinstance(value, bool) else index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f'{name} must be an integer of at least {least}, not {value!r}')
    return number
