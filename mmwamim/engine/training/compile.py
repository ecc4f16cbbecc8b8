"""Compiles what a training step computes."""
from typing import Any, Callable, Dict, Optional

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpretrain.models.backbones.swin_transformer import SwinBlock
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.utils._pytree import tree_leaves

from mmwamim.models import LevelDecoder, WaMIM
from mmwamim.models.encoders.vit import plain_drop_rates
from mmwamim.registry import HOOKS

# 'reduce-overhead' replays CUDA graphs: for small batches, where the host launches kernels more
# slowly than the GPU runs them. 'max-autotune' tries kernels, which takes long, and replays too.
MODES = ('default', 'reduce-overhead', 'max-autotune')
LAYERS = (TransformerEncoderLayer, SwinBlock, LevelDecoder)


def compile_model(model: nn.Module, mode: str = 'default', backend: Any = 'inductor') -> int:
    """Compiles a model for training, in place. Names of parameters do not change.

    A :class:`WaMIM` becomes one graph, from images and plan of the mask to the losses. Of other
    models, and of those whose weights are shared out (they are gathered between layers), every
    layer is one, and those of the same shape share their code.

    Args:
        model: The model, on its device, not wrapped.
        mode: One of :data:`MODES`.
        backend: As of ``torch.compile``.

    Returns:
        The number of graphs.
    """
    plain_drop_rates(model)
    options = dict(backend=backend, mode=None if mode == 'default' else mode)
    sharded = any(isinstance(module, FSDPModule) for module in model.modules())
    if isinstance(model, WaMIM) and not sharded:
        model.loss = CompiledLoss(model, **options)
        return 1
    layers = [module for module in model.modules() if isinstance(module, LAYERS)]
    for layer in layers:
        layer.compile(**options)
    return len(layers)


class CompiledLoss:
    """``WaMIM.loss`` as one graph. The mask is drawn and planned outside of it.

    It is compiled once for each size of images, for the shapes of their first batch: what has
    others (a last, smaller batch; with Swin one mask in hundreds that needs another group of
    windows) runs as it is.

    Args:
        model: What to compile.
        backend, mode: As of ``torch.compile``.
    """

    def __init__(self, model: WaMIM, backend: Any, mode: Optional[str]) -> None:
        self.plan_mask, self.plain = model.plan_mask, model.loss
        self.compiled: Callable = torch.compile(model.loss, fullgraph=True, dynamic=False,
                                                backend=backend, mode=mode)
        self.keep_positions = getattr(model.neck, 'keep_positions', lambda size: None)
        self.replays = mode is not None
        self.shapes: Dict[tuple, list] = {}

    def __call__(self, inputs: Tensor, data_samples: Optional[list] = None) -> Dict[str, Tensor]:
        plan = self.plan_mask(inputs)
        shapes = [leaf.shape for leaf in tree_leaves((inputs, plan)) if isinstance(leaf, Tensor)]
        size = tuple(inputs.shape[2:])
        if size not in self.shapes:
            self.shapes[size] = shapes
            self.keep_positions(size)
        if shapes != self.shapes[size]:
            return self.plain(inputs, None, plan)
        if not self.replays:
            return self.compiled(inputs, None, plan)
        torch.compiler.cudagraph_mark_step_begin()
        # A replay writes its results where the one before wrote them, and those are still read.
        return {name: value.clone() for name, value in self.compiled(inputs, None, plan).items()}


@HOOKS.register_module()
class CompileHook(Hook):
    """``tools/train.py --compile [MODE]``: :func:`compile_model` before the first step.

    Args:
        mode: One of 'default', 'reduce-overhead' and 'max-autotune'.

    Raises:
        ValueError: There is no such mode.
    """

    def __init__(self, mode: str = 'default') -> None:
        if mode not in MODES:
            raise ValueError(f'CompileHook: mode must be one of {", ".join(MODES)}, not {mode!r}')
        self.mode = mode

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        graphs = compile_model(model, self.mode)
        runner.logger.info(f'compiling {graphs} graphs: the first step takes minutes')
