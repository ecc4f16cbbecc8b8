"""The weighted multi-level reconstruction loss, and how much of each target it explains."""
from typing import Dict, Optional, Sequence, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mmwamim.registry import MODELS

from .masking import MaskPlan, as_plan

DISTANCES = dict(l2=F.mse_loss, l1=F.l1_loss, smooth_l1=F.smooth_l1_loss)


@MODELS.register_module()
class MultiLevelMIMHead(BaseModule):
    r"""Distance between prediction and target at the masked positions of every level.

    .. math:: L = \sum_i w_i \frac{\sum_p m_i(p) \, d_i(p)}{\sum_p m_i(p)}

    where :math:`d_i(p)` is the distance at position p, averaged over channels, and :math:`m_i`
    the mask rescaled to the level's grid. Source: WaMIM, Eq. 7.

    Beside its loss every level reports the share of its target that is explained,

    .. math:: R_i^2 = 1 - \frac{\sum_p m_i(p) \, \lVert \hat t_i(p) - t_i(p) \rVert^2}
                             {\sum_p m_i(p) \, \lVert t_i(p) - \bar t_i \rVert^2}

    with the mean :math:`\bar t_i` of each channel over the masked positions of the batch: 0 for
    who predicts the mean, 1 for who knows everything, whatever the target's scale.

    Args:
        loss_weights: The weights :math:`w_i`, finest level first.
        level_names: What each level is called in the log; filled in by ``WaMIM`` from the
            target.
        distance: 'l2' (squared error), 'l1' or 'smooth_l1' (squared up to 1, linear beyond).
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: There are not as many weights as levels, a weight is negative, or
            ``distance`` is unknown.

    Examples:
        >>> head = MultiLevelMIMHead((1., ), ('level3', ))
        >>> mask = torch.tensor([[[True, False], [True, True]]])
        >>> target = torch.zeros(1, 12, 2, 2)
        >>> head([target + 2], [target], mask)['loss_level3']
        tensor(4.)
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
        if not all(0 <= weight < float('inf') for weight in loss_weights):
            raise ValueError('loss_weights must not be negative, NaN or infinite: '
                             f'{tuple(loss_weights)}')
        if distance not in DISTANCES:
            raise ValueError(f'distance must be one of {", ".join(DISTANCES)}, not {distance!r}')
        self.loss_weights = tuple(loss_weights)
        self.level_names = tuple(level_names)
        self.distance = distance

    def forward(self, predictions: Sequence[Tensor], targets: Sequence[Tensor],
                plan: Union[MaskPlan, Tensor]) -> Dict[str, Tensor]:
        """Computes the loss of every level, in float32.

        Args:
            predictions: (B, channels, rows, cols) for each level.
            targets: The same shapes.
            plan: Of the mask units, or their bool mask (B or 1, rows, cols), True = masked.

        Returns:
            ``loss_<level name>`` for each level, already weighted, scalars; their sum is the
            loss. ``explained_<level name>`` for each level, at most 1, scalars without gradient;
            0 where the target does not vary.

        Raises:
            ValueError: Shapes differ, or nothing is masked.
        """
        plan = as_plan(plan, predictions[0].device)
        results = {}
        for level, (name, weight, prediction, target) in enumerate(zip(
                self.level_names, self.loss_weights, predictions, targets, strict=True)):
            if prediction.shape != target.shape:
                raise ValueError(f'{name}: prediction {tuple(prediction.shape)} and target '
                                 f'{tuple(target.shape)} differ in shape')
            shares = plan.shares(target.shape[-2:], target.shape[0], level)
            prediction, target = prediction.float(), target.float()
            loss = DISTANCES[self.distance](prediction, target, reduction='none')
            loss = (loss.mean(dim=1) * shares).sum()
            results[f'loss_{name}'] = weight * loss
            error = loss if self.distance == 'l2' else None
            if plan.draws is not None:  # the sum of what was drawn is one only in the mean
                total = shares.expand(len(target), -1, -1).sum()
                shares, error = shares / total, error if error is None else error / total
            results[f'explained_{name}'] = explained_share(prediction, target, shares, error)
        return results

    loss = forward


@torch.no_grad()
def explained_share(prediction: Tensor, target: Tensor, shares: Tensor,
                    error: Optional[Tensor] = None) -> Tensor:
    """1 - squared error / variance of the target about its mean, both over masked positions.

    Args:
        prediction: (B, channels, rows, cols).
        target: The same shape.
        shares: (B or 1, rows, cols), how much each position counts; over the batch of sum one.
        error: The squared error, averaged over channels, where it is known.

    Returns:
        A float32 scalar, at most 1; 0 where the target does not vary.
    """
    prediction, target, shares = prediction.float(), target.float(), shares[:, None]
    if error is None:
        error = ((prediction - target).square().mean(1, keepdim=True) * shares).sum()
    error = error * target.shape[1]
    mean = (target * shares).sum((0, 2, 3), keepdim=True)
    variance = ((target - mean).square() * shares).sum()
    # A target of one value varies by the rounding of its mean.
    rounding = 1e-10 * torch.dot(mean.flatten(), mean.flatten())
    return torch.where(variance > rounding, 1 - error / variance, torch.zeros_like(variance))
