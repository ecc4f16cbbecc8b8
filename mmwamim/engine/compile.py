"""Compiles the parts of a model that are the same in every step."""
import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import nn

from mmwamim.models import LevelDecoder
from mmwamim.registry import HOOKS


def compile_parts(model: nn.Module) -> int:
    """Compiles the layers of the ViT and the transformer block of every decoder, in place.

    Layers of the same shape share their code, so this takes as long as compiling a layer and a
    decoder. What depends on the mask stays as it is. Names of parameters do not change.

    Returns:
        The number of compiled parts.
    """
    parts = 0
    for module in model.modules():
        if isinstance(module, LevelDecoder):
            module._attend = torch.compile(module._attend)
            parts += 1
    for module in getattr(model, 'backbone', model).modules():
        if isinstance(module, TransformerEncoderLayer):
            module.compile()
            parts += 1
    return parts


@HOOKS.register_module()
class CompileHook(Hook):
    """``tools/train.py --compile``: :func:`compile_parts` before the first step."""

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        parts = compile_parts(model)
        runner.logger.info(f'compiling {parts} parts of the model: the first step takes minutes')
