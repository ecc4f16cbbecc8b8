"""2-D wavelet packets: the details are transformed on as the approximation is."""
from typing import List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from .axis import Step, doubled, halved
from .dwt import Subbands, analysis2, checked, synthesis2
from .filters import Wavelet
from .numbers import check_images, computed, whole

ORDERS = ('natural', 'freq')


def wavelet_packet2(x: Tensor, wavelet: Wavelet = 'haar', level: int = 2, mode: str = 'zero',
                    order: str = 'natural', frequencies: Optional[int] = None,
                    double: bool = False) -> Tensor:
    """All 4^level nodes of one level of the wavelet packet tree.

    Args:
        x: Images (..., H, W), any size, any real number type.
        wavelet: As in :func:`mmwamim.wavelets.dwt2`.
        mode: See ``wavelet``.
        double: See ``wavelet``.
        level: Depth of the tree, at least 1.
        order: 'natural': nodes in the order of their paths, as :func:`packet_paths` names them;
            'freq': a table with rows and columns in the order of frequency, lowest first.
        frequencies: Only so many rows and columns of the table; the rest is never computed.

    Returns:
        (..., 4^level, h, w) for 'natural' and (..., 2^level, 2^level, h, w) for 'freq': what
        ``pywt.WaveletPacket2D.get_level`` gives with the same ``order``.

    Raises:
        TypeError: The input is no torch tensor, or a complex one.
        ValueError: ``wavelet``, ``mode``, ``level`` or ``order`` is not usable, or
            ``frequencies`` is given with 'natural'.

    Source: Coifman & Wickerhauser, "Entropy-based algorithms for best basis selection", 1992.

    Examples:
        >>> x = torch.rand(3, 32, 32)
        >>> wavelet_packet2(x, 'db2', 2, 'periodization').shape
        torch.Size([3, 16, 8, 8])
        >>> wavelet_packet2(x, 'db2', 2, 'periodization', order='freq', frequencies=3).shape
        torch.Size([3, 3, 3, 8, 8])
    """
    return computed(_wavelet_packet2, x, wavelet, level, mode, order, frequencies, double=double)


def iwavelet_packet2(packets: Tensor, wavelet: Wavelet = 'haar', mode: str = 'zero',
                     order: str = 'natural', size: Optional[Sequence[int]] = None,
                     double: bool = False) -> Tensor:
    """Inverts :func:`wavelet_packet2`.

    Args:
        packets: All nodes of one level, as :func:`wavelet_packet2` returns them.
        wavelet: As there.
        mode: See ``wavelet``.
        order: See ``wavelet``.
        double: See ``wavelet``.
        size: (H, W) of the images. Needed where halving met an odd size, to cut at every level
            what was never there. Default: the largest that has such packets.

    Returns:
        Images (..., H, W).

    Raises:
        TypeError: The input is no torch tensor, or a complex one.
        ValueError: The number of nodes is that of no level, or ``size`` does not fit.

    Examples:
        >>> x = torch.rand(3, 30, 25)
        >>> packets = wavelet_packet2(x, 'db2', 3)
        >>> bool((iwavelet_packet2(packets, 'db2', size=(30, 25)) - x).abs().max() < 1e-5)
        True
    """
    return computed(_iwavelet_packet2, packets, wavelet, mode, order, size, double=double)


def packet_paths(level: int, order: str = 'natural') -> Union[List[str], List[List[str]]]:
    """Names of the nodes that :func:`wavelet_packet2` returns: a letter a level, coarsest last, of
    'a' (approximation), 'h', 'v' and 'd' (horizontal, vertical, diagonal details).

    Args:
        level: Depth of the tree, at least 1.
        order: 'natural' for a list, 'freq' for a table.

    Raises:
        ValueError: ``level`` or ``order`` is not usable.

    Examples:
        >>> packet_paths(1), packet_paths(1, 'freq')
        (['a', 'h', 'v', 'd'], [['a', 'v'], ['h', 'd']])
    """
    level = whole(level, 'level', 1)
    _check_order(order)
    if order == 'natural':
        paths = ['']
        for _ in range(level):
            paths = [path + letter for path in paths for letter in 'ahvd']
        return paths
    codes = [_gray_code(place) for place in range(2**level)]
    return [[''.join('avhd'[2 * (row >> bit & 1) + (column >> bit & 1)]
                     for bit in reversed(range(level))) for column in codes] for row in codes]


def _gray_code(place: int) -> int:
    """The path (bits, first level first, 1 is high-pass) of the node of the place-th frequency.

    High-pass and halving turn the spectrum round, so that of such a node's two halves the high-pass
    one has the lower frequencies.
    """
    return place ^ place >> 1


def _check_order(order: str) -> None:
    if order not in ORDERS:
        raise ValueError(f'order must be one of {", ".join(ORDERS)}, not {order!r}')


def _wavelet_packet2(x: Tensor, wavelet: Wavelet, level: int, mode: str, order: str,
                     frequencies: Optional[int]) -> Tensor:
    check_images(x, 2)
    step = checked(wavelet, mode)
    level = whole(level, 'level', 1)
    _check_order(order)
    if order == 'natural':
        if frequencies is not None:
            raise ValueError("frequencies are counted with order='freq' alone")
        nodes = x.unsqueeze(-3)
        for _ in range(level):
            nodes = torch.stack(analysis2(nodes, step), -3).flatten(-4, -3)
        return nodes
    if frequencies is not None and not 1 <= whole(frequencies, 'frequencies', 1) <= 2**level:
        raise ValueError(f'frequencies must be 1 to 2^level = {2**level}, not {frequencies}')
    nodes = x[..., None, None, :, :]
    for current in range(1, level + 1):
        # A node comes from the one of half its place.
        wanted = -(-(frequencies or 2**level) // 2**(level - current))
        nodes = _frequencies(analysis2(nodes, step))[..., :wanted, :wanted, :, :]
    return nodes


def _frequencies(bands: Subbands) -> Tensor:
    """Four times (..., rows, columns, h, w) -> (..., 2 rows, 2 columns, h, w), places doubled."""
    approximation, horizontal, vertical, diagonal = bands
    low, high = (_in_turn(left, right, -3)
                 for left, right in ((approximation, vertical), (horizontal, diagonal)))
    return _in_turn(low, high, -4)


def _in_turn(low: Tensor, high: Tensor, dim: int) -> Tensor:
    """The two halves of each node side by side, lower frequencies first."""
    pairs = []
    for place, pair in enumerate(zip(low.unbind(dim), high.unbind(dim))):
        pairs += pair[::-1] if place % 2 else pair
    return torch.stack(pairs, dim)


def _iwavelet_packet2(packets: Tensor, wavelet: Wavelet, mode: str, order: str,
                      size: Optional[Sequence[int]]) -> Tensor:
    step = checked(wavelet, mode)
    _check_order(order)
    axes = 3 if order == 'natural' else 4
    check_images(packets, axes)
    side = int(packets.shape[-3])  # torch.jit.trace has tensors for sizes
    count = side if order == 'natural' else side**2
    level = (count.bit_length() - 1) // 2
    if count != 4**level or level < 1 or (order == 'freq' and packets.shape[-4]**2 != count):
        raise ValueError(f'packets must be {"4^level" if axes == 3 else "2^level x 2^level"} nodes '
                         f'(..., h, w), not of shape {tuple(packets.shape)}')
    if order == 'freq':
        table = [path for row in packet_paths(level, 'freq') for path in row]
        nodes = packets.flatten(-4, -3).unbind(-3)
        packets = torch.stack([nodes[table.index(path)] for path in packet_paths(level)], -3)
    for rows, columns in _sizes(packets.shape[-2:], level, step, size):
        bands = packets.unflatten(-3, (-1, 4)).unbind(-3)
        packets = synthesis2(Subbands(*bands), step)[..., :rows, :columns]
    return packets.squeeze(-3)


def _sizes(leaf: Sequence[int], level: int, step: Step, size: Optional[Sequence[int]]
           ) -> List[Tuple[int, int]]:
    """Of the nodes of every level above the leaves, coarsest first."""
    if size is None:
        sizes = [tuple(leaf)]
        for _ in range(level):
            sizes.append(tuple(doubled(side, step) for side in sizes[-1]))
        return sizes[1:]
    if not isinstance(size, (list, tuple)) or len(size) != 2:
        raise ValueError(f'size must be the (H, W) of the images, not {size!r}')
    sizes = [tuple(whole(side, 'size', 1) for side in size)]
    for _ in range(level):
        sizes.append(tuple(halved(side, step) for side in sizes[-1]))
    if sizes[-1] != tuple(leaf):
        raise ValueError(f'images of size {tuple(size)} have packets of {sizes[-1]} on level '
                         f'{level}, not of {tuple(leaf)}')
    return sizes[-2::-1]
