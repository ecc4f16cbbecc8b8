"""The weighted multi-level reconstruction loss."""
from typing import Dict, Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mmwamim.registry import MODELS

from .masking import rescale_mask, to_device

DISTANCES = dict(l2=F.mse_loss, l1=F.l1_loss)


@MODELS.register_module()
class MultiLevelMIMHead(BaseModule):
    r"""Distance between prediction and target at the masked positions of every level.

    .. math:: L = \sum_i w_i \frac{\sum_p m_i(p) \, d_i(p)}{\sum_p m_i(p)}

    where :math:`d_i(p)` is the distance at position p, averaged over channels, and :math:`m_i`
    the mask rescaled to the level's grid. Source: WaMIM, Eq. 7.

    Args:
        loss_weights: The weights :math:`w_i`, finest level first.
        level_names: What each level is called in the log; filled in by ``WaMIM`` from the
            target.
        distance: 'l2' (squared error) or 'l1'.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: There are not as many weights as levels, a weight is negative, or
            ``distance`` is unknown.
    """

    def __init__(self,
                 loss_weights: Sequence[float],
                 level_names: Sequence[str],
                 distance: str = 'l2',
                 init_cfg: dict = None) -> None:
        super().__init__(init_cfg)
        if len(loss_weights) != len(level_names):
            raise ValueError(f'loss_weights has {len(loss_weights)} entries but there are '
                             f'{len(level_names)} levels: {", ".join(level_names)}')
        if any(weight < 0 for weight in loss_weights):
            raise ValueError(f'loss_weights must not be negative: {tuple(loss_weights)}')
        if distance not in DISTANCES:
            raise ValueError(f'distance must be one of {", ".join(DISTANCES)}, not {distance!r}')
        self.loss_weights = tuple(loss_weights)
        self.level_names = tuple(level_names)
        self.distance = distance

    def forward(self, predictions: Sequence[Tensor], targets: Sequence[Tensor],
                mask: Tensor) -> Dict[str, Tensor]:
        """Computes the loss of every level, in float32.

        Args:
            predictions: (B, channels, rows, cols) for each level.
            targets: The same shapes.
            mask: bool (B or 1, rows, cols) of mask units, True = masked.

        Returns:
            ``loss_<level name>`` for each level, already weighted, scalars; their sum is the
            loss.

        Raises:
            ValueError: Shapes differ, or nothing is masked.
        """
        losses = {}
        for name, weight, prediction, target in zip(self.level_names, self.loss_weights,
                                                    predictions, targets, strict=True):
            losses[f'loss_{name}'] = weight * self._level_loss(name, prediction, target, mask)
        return losses

    loss = forward

    def _level_loss(self, name: str, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        if prediction.shape != target.shape:
            raise ValueError(f'{name}: prediction {tuple(prediction.shape)} and target '
                             f'{tuple(target.shape)} differ in shape')
        # The weights depend on the mask alone: summed to one on the CPU, then copied over.
        weights = rescale_mask(mask.cpu(), target.shape[-2:])
        weights = weights.expand(target.shape[0], -1, -1)
        total = weights.sum()
        if total == 0:
            raise ValueError('nothing is masked, so there is nothing to predict')
        weights = to_device(weights / total, target.device)
        distance = DISTANCES[self.distance](prediction.float(), target.float(), reduction='none')
        return (distance.mean(dim=1) * weights).sum()
