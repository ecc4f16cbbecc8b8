"""The pre-trained encoder for other ecosystems: timm's names, torch.export and ONNX programs."""
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Optional, Tuple, Union
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.models.utils import ShiftWindowMSA
from torch import Tensor, nn

from mmwamim.errors import UserError

from .checkpoints import read_checkpoint
from .launch import read_config
from .weights import check_encoder, read_encoder

# (width, layers or depths, heads, patch) -> timm's name
TIMM_VIT = {
    (192, 12, 3, 16): 'vit_tiny_patch16_224', (384, 12, 6, 16): 'vit_small_patch16_224',
    (768, 12, 12, 16): 'vit_base_patch16_224', (768, 12, 12, 8): 'vit_base_patch8_224',
    (1024, 24, 16, 16): 'vit_large_patch16_224'}
COMMON = (('.ffn.layers.0.0', '.mlp.fc1'), ('.ffn.layers.1', '.mlp.fc2'), ('projection', 'proj'))
TIMM_SWIN = {
    (96, (2, 2, 6, 2)): 'swin_tiny_patch4_window7_224',
    (96, (2, 2, 18, 2)): 'swin_small_patch4_window7_224',
    (128, (2, 2, 18, 2)): 'swin_base_patch4_window7_224',
    (192, (2, 2, 18, 2)): 'swin_large_patch4_window7_224'}


def run_config(checkpoint: Union[str, Path], config: Optional[str] = None) -> Config:
    """The config of the run that made a checkpoint: the file ``config``, or what it carries.

    Raises:
        MissingFile: There is no such file.
        UserError: The checkpoint carries no config.
    """
    if config is not None:
        return read_config(config)
    meta = read_checkpoint(checkpoint).get('meta', {})
    text = meta.get('config') or meta.get('cfg')
    if not text:
        raise UserError(f'{str(checkpoint)!r} does not hold the config of its run: give it with '
                        '--config')
    return Config.fromstring(text, '.py')


def load_encoder(checkpoint: Union[str, Path], config: Optional[str] = None) -> nn.Module:
    """Rebuilds the encoder of a checkpoint; its forward pass without a mask gives a tuple whose
    last entry is the feature map (B, C, H / stride, W / stride) after the final norm.

    Args:
        checkpoint: encoder.pth, or a full checkpoint of pre-training.
        config: The run's config. Default: that in the checkpoint.

    Raises:
        UserError: The checkpoint cannot be read, has no config, or does not
            belong to the config.
    """
    settings = dict(run_config(checkpoint, config).model.backbone, init_cfg=None)
    if settings['type'].endswith(('MaskedViT', 'VisionTransformer')):
        settings.update(out_type='featmap', out_indices=-1)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        encoder = MODELS.build(settings)
    check_encoder(checkpoint, encoder)
    encoder.load_state_dict(read_encoder(checkpoint), strict=False)
    encoder.requires_grad_(False)
    encoder.eval()
    return encoder


def to_timm(encoder: nn.Module) -> Tuple[str, Dict[str, Tensor]]:
    """timm's name of the architecture, and the state dict under timm's names, without a head.

    Raises:
        UserError: timm has no model of this shape.
    """
    return _vit_to_timm(encoder) if hasattr(encoder, 'layers') else _swin_to_timm(encoder)


def _vit_to_timm(encoder: nn.Module) -> Tuple[str, Dict[str, Tensor]]:
    shape = (encoder.embed_dims, encoder.num_layers, encoder.arch_settings['num_heads'],
             encoder.patch_embed.projection.kernel_size[0])
    if shape not in TIMM_VIT or encoder.cls_token is None:
        raise UserError(f'timm has no ViT of width, layers, heads, patch {shape} with a class '
                        f'token: known are {", ".join(TIMM_VIT.values())}')
    renamed = {}
    for name, value in encoder.state_dict().items():
        if name.startswith('ln1.'):  # the final norm; those of the layers have the same name
            name = 'norm.' + name.removeprefix('ln1.')
        name = re.sub(r'^layers\.', 'blocks.', name)
        for ours, theirs in (('.ln', '.norm'), *COMMON):
            name = name.replace(ours, theirs)
        renamed[name] = value.clone()
    return TIMM_VIT[shape], renamed


def _swin_to_timm(encoder: nn.Module) -> Tuple[str, Dict[str, Tensor]]:
    shape = (encoder.embed_dims, tuple(encoder.depths))
    windows = {stage.blocks[0].attn.window_size for stage in encoder.stages}
    if shape not in TIMM_SWIN or windows != {7}:
        raise UserError(f'timm has no Swin of width and depths {shape} with windows {windows}: '
                        f'known are {", ".join(TIMM_SWIN.values())}')
    last = len(encoder.depths) - 1
    renamed = {}
    for name, value in encoder.state_dict().items():
        # The one is constant; norms of earlier stages timm does not have.
        if name.endswith('relative_position_index') or re.match(rf'norm[0-{last - 1}]\.', name):
            continue
        match = re.match(r'stages\.(\d+)\.downsample\.(.*)', name)
        if match:  # timm merges at the start of the next stage
            name = f'layers.{int(match[1]) + 1}.downsample.{match[2]}'
            value = _merging_to_timm(value)
        name = re.sub(r'^stages\.', 'layers.', name)
        name = re.sub(rf'^norm{last}\.', 'norm.', name)
        for ours, theirs in (('.attn.w_msa.', '.attn.'), *COMMON):
            name = name.replace(ours, theirs)
        renamed[name] = value.clone()
    return TIMM_SWIN[shape], renamed


def _merging_to_timm(value: Tensor) -> Tensor:
    """(..., 4 C), channel-major (C, row, column) here, (column, row, C) in timm."""
    by_channel = value.unflatten(-1, (-1, 2, 2))
    return by_channel.movedim((-1, -2), (-3, -2)).flatten(-3)


class LastMap(nn.Module):
    """Images (B, C, H, W) to the last feature map, as one tensor."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images)[-1]


@contextmanager
def traceable():
    """mmpretrain takes ``int()`` of a quotient of sizes, which would fix the batch of a program."""

    def window_reverse(windows: Tensor, height: int, width: int, window: int) -> Tensor:
        x = windows.view(-1, height // window, width // window, window, window, windows.shape[-1])
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, windows.shape[-1])

    with mock.patch.object(ShiftWindowMSA, 'window_reverse', staticmethod(window_reverse)):
        yield


def to_program(encoder: nn.Module, size: int) -> 'torch.export.ExportedProgram':
    """A ``torch.export`` program from images (B, C, size, size), any B, to the last map."""
    channels = encoder.patch_embed.projection.in_channels
    example = torch.zeros(2, channels, size, size)
    batch = torch.export.Dim('batch', min=1, max=4096)
    with traceable():
        return torch.export.export(LastMap(encoder).eval(), (example, ),
                                   dynamic_shapes=({0: batch}, ))


def to_onnx(encoder: nn.Module, size: int, path: Union[str, Path]) -> None:
    """An ONNX file from 'images' (B, C, size, size) to 'features', the last map."""
    torch.onnx.export(to_program(encoder, size), f=str(path), input_names=['images'],
                      output_names=['features'], dynamo=True, external_data=False, verbose=False)
