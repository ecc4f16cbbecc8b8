"""Layer-wise decay of the learning rate for every toolbox."""
import inspect
from typing import Callable, List, Optional, Tuple, Union

from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from torch import nn

from mmwamim.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS

from .groups import MergesGroups

PREFIX = 'backbone.'
TOKENS = ('cls_token', 'pos_embed', 'absolute_pos_embed', 'mask_token')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(MergesGroups, LearningRateDecayOptimWrapperConstructor):
    """mmpretrain's layer-wise decay, also for the models of mmdet and mmseg.

    A parameter at depth d of N has the learning rate ``layer_decay_rate ** (N - 1 - d)`` times
    the base: the patch embedding, tokens and positions have depth 0, the first block 1, and all
    behind the last block (norms of the outputs, necks, heads) the full rate. mmpretrain asks the
    model for the depth, which only its own classifiers know; here the backbone is asked.
    Parameters of the same depth and weight decay share an optimizer group.

    Args:
        optim_wrapper_cfg: As in MMEngine.
        paramwise_cfg: With ``layer_decay_rate`` in (0, 1], and as in mmpretrain.

    Raises:
        ValueError: ``layer_decay_rate`` is out of range, or the backbone does not know depths.

    Examples:
        >>> optim_wrapper = dict(  # in a config
        ...     constructor='mmwamim.LayerDecayOptimWrapperConstructor',
        ...     paramwise_cfg=dict(layer_decay_rate=0.65), optimizer=dict(type='AdamW', lr=1e-3))
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: Optional[dict] = None) -> None:
        rate = (paramwise_cfg or {}).get('layer_decay_rate', 1.)
        if not 0 < rate <= 1:
            raise ValueError(f'paramwise_cfg.layer_decay_rate must lie in (0, 1], not {rate}')
        optimizer = dict(optim_wrapper_cfg['optimizer'])
        # mmpretrain reads every group's, also where nobody has given one.
        optimizer.setdefault('weight_decay', _default_decay(optimizer['type']))
        super().__init__(dict(optim_wrapper_cfg, optimizer=optimizer), paramwise_cfg)

    def add_params(self, params: List[dict], module: nn.Module, prefix: str = '',
                   get_layer_depth: Optional[Callable] = None, **kwargs) -> None:
        if get_layer_depth is None:
            get_layer_depth = depth_of(module)
        super().add_params(params, module, prefix=prefix, get_layer_depth=get_layer_depth,
                           **kwargs)


def _default_decay(optimizer: Union[str, type]) -> float:
    """The weight decay of an optimizer that is given none: 0.01 of AdamW, 0 of SGD."""
    kind = OPTIMIZERS.get(optimizer) if isinstance(optimizer, str) else optimizer
    field = inspect.signature(kind.__init__).parameters.get('weight_decay')
    return 0. if field is None or field.default is field.empty else field.default


def depth_of(model: nn.Module) -> Callable[[str], Tuple[int, int]]:
    """A function from a parameter's name to its depth and the number of depths."""
    backbone = getattr(model, 'backbone', None)
    if not hasattr(backbone, 'get_layer_depth'):
        raise ValueError(f'{type(backbone).__name__} does not say how deep its layers lie: '
                         'layer-wise decay works with the backbones of mmpretrain')

    def depth(name: str) -> Tuple[int, int]:
        if name.removeprefix(PREFIX) in TOKENS and name.startswith(PREFIX):
            return 0, backbone.get_layer_depth(name, PREFIX)[1]
        return backbone.get_layer_depth(name, PREFIX)

    return depth
