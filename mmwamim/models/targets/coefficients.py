"""How wavelet coefficients are scaled before they are predicted; and back.

Coefficients of photographs are heavy-tailed and their variance is local: an edge has hundreds of
times the energy of a flat region, and the approximation dwarfs both. What a squared loss teaches is
decided by what the coefficients are divided by.
"""
from typing import List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn

from .normalise import standardise

NORMS = ('token', 'subband', 'unit', 'neighbourhood', 'contrast', 'band', 'none')
APPROXIMATION_NORMS = ('same', 'hue', 'colour', 'image')
# The running root mean squares of `norm='band'` reach back about as many training steps.
MEMORY = 1000


class CoefficientNorm(nn.Module):
    """Normalises the subbands of several levels: ``(subbands - offset) / scale``, companded.

    Levels come as (B, bands, colours, rows, cols): the approximation, if it is part of the level,
    then details.

    Args:
        levels: Levels of the transform, finest first; cells of level k are 2^k pixels wide.
        bands: For each level the levels that its bands come from.
        with_approximation: Whether the first band of each level is the approximation.
        colours: Colour channels.
        norm: What details are divided by; see :class:`WaveletTargetGenerator`.
        approximation_norm: The same of approximations.
        colour_groups: Sizes of the groups of colours that 'unit' and 'neighbourhood' take
            together, such as (1, 2) for luma and chroma. Their sum is ``colours``.
        window: Side in pixels of the region that 'unit' and 'neighbourhood' look at.
        compand: The bend of sign(x) log(1 + |x| / compand), or None. Approximations of
            ``approximation_norm`` 'colour' and 'image' are not heavy-tailed and stay as they are.
        eps: Added to the mean square (of 'token' and 'subband': to the variance).
    """

    def __init__(self, levels: Sequence[int], bands: Sequence[Sequence[int]],
                 with_approximation: Sequence[bool], colours: int, norm: str,
                 approximation_norm: str, colour_groups: Sequence[int], window: int,
                 compand: Optional[float], eps: float) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.with_approximation = tuple(with_approximation)
        self.norm, self.approximation_norm = norm, approximation_norm
        self.colour_groups = tuple(colour_groups)
        self.window = window
        self.compand = compand
        self.eps = eps
        if norm == 'band':
            for index, sources in enumerate(bands):
                # Before anything was seen: of images of unit variance at every scale.
                self.register_buffer(
                    f'mean_square{index}',
                    torch.full((len(sources), colours, 1, 1), 4.**self.levels[index]))
            self.register_buffer('seen', torch.zeros(()))
        if norm == 'contrast':
            for index, sources in enumerate(bands):
                gain = 2. ** torch.tensor(sources, dtype=torch.float32)
                self.register_buffer(f'gain{index}', gain[:, None, None, None], persistent=False)

    def forward(self, subbands: Sequence[Tensor]) -> List[Tensor]:
        """The normalised levels; in training mode 'band' takes them into its running estimate.

        Args:
            subbands: float32 (B, bands, colours, rows, cols) for each level.
        """
        if self.norm == 'band' and self.training:
            self._observe(subbands)
        normalised = []
        for index, level in enumerate(subbands):
            offset, scale = self.statistics(level, index)
            normalised.append(self._bend((level - offset) / scale, index))
        return normalised

    def inverse(self, normalised: Tensor, truth: Tensor, index: int) -> Tensor:
        """One level back to subbands, with offset and scale of the true subbands."""
        offset, scale = self.statistics(truth, index)
        return self._bend(normalised, index, back=True) * scale + offset

    def statistics(self, level: Tensor, index: int) -> Tuple[Tensor, Tensor]:
        """Offset and scale of one level, of shapes that broadcast to the level's.

        Args:
            level: (B, bands, colours, rows, cols).
            index: Which of the levels it is.
        """
        kind = self.approximation_norm if self.with_approximation[index] else 'same'
        if kind == 'same':
            return self._statistics(level, index)
        if kind == 'hue':
            offset = self._grey(level)
            if self.norm == 'token':
                return offset, ((level - offset).square().mean((1, 2), keepdim=True)
                                + self.eps).sqrt()
            return offset, self._statistics(level - offset, index)[1]
        approximation, details = level.split([1, level.shape[1] - 1], dim=1)
        parts = [(approximation, self._approximation_statistics(approximation, index)),
                 (details, self._statistics(details, index))]
        offset, scale = (torch.cat([values[which].expand_as(bands) for bands, values in parts],
                                   dim=1) for which in (0, 1))
        return offset, scale

    def _grey(self, level: Tensor) -> Tensor:
        """The brightness of the approximation, which is the first band; zero for details."""
        grey = torch.zeros_like(level)
        if len(self.colour_groups) > 1:  # luma is a channel of its own
            grey[:, 0, 0] = level[:, 0, 0]
        else:
            grey[:, 0] = level[:, 0].mean(1, keepdim=True)
        return grey

    def _statistics(self, bands: Tensor, index: int) -> Tuple[Tensor, Tensor]:
        zero = bands.new_zeros((1, 1, 1, 1, 1))
        if self.norm == 'none':
            return zero, zero + 1
        if self.norm in ('token', 'subband'):
            return standardise(bands, (1, 2) if self.norm == 'token' else (3, 4), self.eps)
        if self.norm == 'contrast':
            return zero, getattr(self, f'gain{index}')[None, -bands.shape[1]:]
        if self.norm == 'band':
            square = getattr(self, f'mean_square{index}')[-bands.shape[1]:]
            return zero, (square[None] + self.eps).sqrt()
        # (B, bands, colours, rows, cols) -> (B, groups, rows, cols), the energy of each position
        energy = bands.square().mean(1)
        energy = torch.stack([group.mean(1) for group in energy.split(self.colour_groups, dim=1)],
                             dim=1)
        energy = self._over_window(energy, max(1, self.window >> self.levels[index]))
        energy = torch.cat([energy[:, i:i + 1].expand(-1, size, -1, -1)
                            for i, size in enumerate(self.colour_groups)], dim=1)
        return zero, (energy[:, None] + self.eps).sqrt()

    def _over_window(self, energy: Tensor, cells: int) -> Tensor:
        """The mean over windows of ``cells`` x ``cells``: side by side, or one around each."""
        if cells == 1:
            return energy
        if self.norm == 'unit':
            rows, cols = energy.shape[-2:]
            # A part of a window at the border is a window of its own.
            mean = F.avg_pool2d(energy, cells, ceil_mode=True, count_include_pad=False)
            return mean.repeat_interleave(cells, -2).repeat_interleave(
                cells, -1)[..., :rows, :cols]
        side = cells + 1 - cells % 2  # odd, so that it lies around the position
        return F.avg_pool2d(energy, side, stride=1, padding=side // 2, count_include_pad=False)

    def _approximation_statistics(self, approximation: Tensor, index: int
                                  ) -> Tuple[Tensor, Tensor]:
        if self.approximation_norm == 'image':
            return standardise(approximation, (3, 4), self.eps)
        zero = approximation.new_zeros((1, 1, 1, 1, 1))
        # Each level doubles what a constant image has: the mean colour is what is left.
        return zero, zero + 2.**self.levels[index]

    @torch.no_grad()
    def _observe(self, subbands: Sequence[Tensor]) -> None:
        """Takes a batch into the running mean squares, the same on every process."""
        if self.approximation_norm == 'hue':  # it divides what is left without brightness
            subbands = [level - self._grey(level) if apart else level
                        for level, apart in zip(subbands, self.with_approximation)]
        squares = [level.square().mean((0, 3, 4)).flatten() for level in subbands]
        mean = torch.cat(squares)
        if get_world_size() > 1:
            all_reduce(mean, op='mean')
        self.seen += 1
        share = 1 / self.seen.clamp_max(MEMORY)
        parts = mean.split([len(square) for square in squares])
        for index, part in enumerate(parts):
            running = getattr(self, f'mean_square{index}')
            running.lerp_(part.view_as(running), share)

    def _bend(self, level: Tensor, index: int, back: bool = False) -> Tensor:
        if self.compand is None:
            return level
        bend = self._unbent if back else self._bent
        if self.approximation_norm in ('colour', 'image') and self.with_approximation[index]:
            approximation, details = level.split([1, level.shape[1] - 1], dim=1)
            return torch.cat([approximation, bend(details)], dim=1)
        return bend(level)

    def _bent(self, x: Tensor) -> Tensor:
        return x.sign() * (x.abs() / self.compand).log1p()

    def _unbent(self, x: Tensor) -> Tensor:
        return x.sign() * x.abs().expm1() * self.compand
