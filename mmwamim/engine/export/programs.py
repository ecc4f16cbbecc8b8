"""The pre-trained encoder for other ecosystems: torch.export and ONNX programs."""
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Mapping, Optional, Tuple, Union
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.models import VisionTransformer
from mmpretrain.models.utils import ShiftWindowMSA
from torch import Tensor, nn

from mmwamim.errors import UserError
from mmwamim.evaluation.features import encode
from mmwamim.interface.words import option
from mmwamim.weights.timm import Classifier, to_timm  # noqa: F401

from ..checkpoints import read_checkpoint
from ..checkpoints.writing import write_atomically
from ..config.reading import read_config, type_name
from ..config.text import config_of_text
from .arrival import read_fitting


def run_config(checkpoint: Union[str, Path], config: Optional[str] = None) -> Config:
    """The config of the run that made a checkpoint: the file ``config``, or what it carries.

    Raises:
        MissingFile: There is no such file.
        UserError: The checkpoint carries no config, or one that holds more than values: nothing in
            it is run.
    """
    if config is not None:
        return read_config(config)
    meta = read_checkpoint(checkpoint).get('meta')
    text = (meta.get('config') or meta.get('cfg')) if isinstance(meta, dict) else None
    if not text:
        raise UserError(f'{str(checkpoint)!r} does not hold the config of its run: give it with '
                        f'{option("config")}')
    return config_of_text(text, checkpoint)


def load_encoder(checkpoint: Union[str, Path], config: Optional[str] = None) -> nn.Module:
    """Rebuilds the encoder of a checkpoint; its forward pass without a mask gives a tuple whose
    last entry is the feature map (B, C, H / stride, W / stride) after the final norm. A ViT that
    was fine-tuned with a norm after mean pooling has that, ``ln2``, and no final norm. Its
    attribute ``pools_token`` says whether the class token is what its classifier, or the loss of
    its pre-training, was given.

    Args:
        checkpoint: encoder.pth, or a full checkpoint of pre-training or fine-tuning.
        config: The run's config. Default: that in the checkpoint.

    Raises:
        UserError: The checkpoint cannot be read, has no config, or does not
            belong to the config.
    """
    model = run_config(checkpoint, config).model
    backbone = model.get('backbone')
    if not isinstance(backbone, dict) or 'type' not in backbone:
        raise UserError(f'the config of {str(checkpoint if config is None else config)!r} has no '
                        f'model.backbone: give one with {option("config")}')
    settings = dict(backbone, init_cfg=None)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        kind = settings['type']
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        if kind is not None and issubclass(kind, VisionTransformer):
            settings.update(out_indices=-1)
        encoder = MODELS.build(settings)
        if not hasattr(encoder, 'patch_embed'):
            raise UserError(f'the encoder of {str(checkpoint)!r} is a {type(encoder).__name__}: '
                            'here are Vision and Swin Transformers alone')
        encoder.pools_token = pools_token(model, encoder)
        if hasattr(encoder, 'out_type'):  # built with its own, which brings ln2 along
            encoder.out_type = 'featmap'
    encoder.load_state_dict(read_fitting(checkpoint, encoder)[0], strict=False)
    encoder.requires_grad_(False)
    encoder.eval()
    return encoder


def pools_token(model: Mapping, encoder: nn.Module) -> bool:
    """Whether the class token is what stands for an image in the training of an encoder: a ViT with
    ``out_type='cls_token'``, or a model that says so by its attribute ``pools_token``, as iBOT.

    Args:
        model: Of the config.
        encoder: Built from its backbone.
    """
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        kind = model.get('type')
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
    # WaMIM has no loss on that token, also where a config leaves the type at its default.
    token = getattr(encoder, 'out_type', None) == 'cls_token' and 'target_generator' not in model
    return token or getattr(kind, 'pools_token', False)


def load_classifier(checkpoint: Union[str, Path], cfg: Config) -> Optional[Classifier]:
    """The linear layer on the pooled features of a fine-tuned encoder, with the batch norm of
    linear probing in it; None where the checkpoint has none, or more than that.

    Args:
        checkpoint: As of :func:`load_encoder`.
        cfg: The run's config.
    """
    state = read_checkpoint(checkpoint)['state_dict']
    backbone, neck, head = (cfg.model.get(name) or {} for name in ('backbone', 'neck', 'head'))
    kinds = type_name(backbone), type_name(neck), type_name(head)
    layer = dict(LinearClsHead='head.fc', VisionTransformerClsHead='head.layers.head').get(kinds[2])
    weight, bias = state.get(f'{layer}.weight'), state.get(f'{layer}.bias')
    is_map = 'Swin' in kinds[0] or backbone.get('out_type') == 'featmap'
    if weight is None or bias is None or head.get('hidden_dim') or \
            (kinds[1] == 'GlobalAveragePooling') != is_map:
        return None
    if kinds[1] == 'ClsBatchNormNeck':
        weight, bias = _with_batch_norm(weight, bias, state, neck)
    elif neck and not is_map:
        return None
    return Classifier(weight, bias)


def _with_batch_norm(weight: Tensor, bias: Tensor, state: Dict[str, Tensor], neck: dict
                     ) -> Tuple[Tensor, Tensor]:
    """A linear layer that does what it does after a batch norm in eval mode."""
    mean, var = (state[f'neck.bn.running_{name}'].double() for name in ('mean', 'var'))
    scale = (var + neck.get('eps', 1e-6)).rsqrt() * state.get('neck.bn.weight', 1.)
    shift = state.get('neck.bn.bias', 0.) - mean * scale
    return (weight * scale).to(weight), (bias + weight.double() @ shift).to(bias)


class LastMap(nn.Module):
    """Images (B, C, H, W) to the last feature map, as one tensor."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        return encode(self.encoder, images)[-1]


@contextmanager
def traceable():
    """mmpretrain takes ``int()`` of a quotient of sizes, which would fix the batch of a program."""

    def window_reverse(windows: Tensor, height: int, width: int, window: int) -> Tensor:
        x = windows.view(-1, height // window, width // window, window, window, windows.shape[-1])
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, windows.shape[-1])

    with mock.patch.object(ShiftWindowMSA, 'window_reverse', staticmethod(window_reverse)):
        yield


def to_program(encoder: nn.Module, size: Tuple[int, int]) -> 'torch.export.ExportedProgram':
    """A ``torch.export`` program from images (B, C, *size), any B, to the last map."""
    channels = encoder.patch_embed.projection.in_channels
    example = torch.zeros(2, channels, *size)
    batch = torch.export.Dim('batch', min=1, max=4096)
    with traceable():
        return torch.export.export(LastMap(encoder).eval(), (example, ),
                                   dynamic_shapes=({0: batch}, ))


def to_onnx(encoder: nn.Module, size: Tuple[int, int], path: Union[str, Path]) -> None:
    """An ONNX file from 'images' (B, C, *size) to 'features', the last map."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)  # of torch to itself
        program = torch.onnx.export(to_program(encoder, size), input_names=['images'],
                                    output_names=['features'], dynamo=True, verbose=False)
    write_atomically(program.model_proto.SerializeToString(), path)
