"""Which recipe of classification an encoder is fine-tuned by, and what of it is the encoder's."""
from typing import Any, Dict, Tuple

from mmengine.config import Config
from torch import nn

from mmwamim.engine.config.loaders import LOADERS
from mmwamim.engine.config.reading import type_name
from mmwamim.errors import UserError
from mmwamim.evaluation.features import image_size, size_before_crop
from mmwamim.interface.words import option
from mmwamim.weights.card import preprocessor_of

# What a classifier's backbone takes over from the encoder of pre-training.
SHARED = dict(
    ViT=('arch', 'img_size', 'patch_size', 'in_channels', 'with_cls_token', 'qkv_bias', 'pre_norm',
         'norm_cfg', 'patch_cfg', 'layer_cfgs', 'layer_scale_init_value', 'interpolate_mode'),
    Swin=('arch', 'img_size', 'patch_size', 'in_channels', 'window_size', 'pad_small_map',
          'use_abs_pos_embed', 'norm_cfg', 'patch_cfg', 'stage_cfgs'))


def recipe_for(encoder: nn.Module, cfg: Config) -> str:
    """The classification config of an encoder's kind and size.

    Raises:
        UserError: It is of another kind.
    """
    kind = _kind(cfg)
    if kind == 'Swin':
        return 'swin_b_ft_100e'
    return 'vit_b_ft_100e' if encoder.embed_dims >= 768 else 'vit_s_ft_200e'


def _kind(cfg: Config) -> str:
    name = type_name(cfg.model.backbone)
    if name in ('MaskedViT', 'VisionTransformer', 'MAEViT'):
        return 'ViT'
    if name in ('SparseSwin', 'SwinTransformer'):
        return 'Swin'
    raise UserError(f'there is no recipe for fine-tuning a {name}: give a config with '
                    f'{option("arch")}')


def encoder_fields(cfg: Config, encoder: nn.Module, source: Config) -> Dict[str, Any]:
    """The fields that make a recipe's backbone, head, normalisation and crops those of an encoder.

    Args:
        cfg: The recipe.
        encoder: As it was pre-trained.
        source: The config of its run.
    """
    kind, size = _kind(source), image_size(encoder)
    settings = source.model.backbone
    fields = {f'model.backbone.{name}': settings[name] for name in SHARED[kind]
              if name in settings}
    arch = fields.get('model.backbone.arch')
    if isinstance(arch, dict):  # in the place of a name
        fields['model.backbone.arch'] = dict(arch, _delete_=True)
    width = encoder.embed_dims
    fields['model.head.in_channels'] = width if kind == 'ViT' \
        else width * 2**(len(encoder.depths) - 1)
    normalisation = preprocessor_of(source)
    for name in ('mean', 'std', 'to_rgb'):
        if name in normalisation:
            fields[f'data_preprocessor.{name}'] = normalisation[name]
    if source.get('value_range') is not None:
        fields['value_range'] = source.value_range
    if source.get('channels') is not None:
        fields['channels'] = source.channels
    for loader in LOADERS:
        for number, step in enumerate(cfg[loader].dataset.pipeline):
            fields.update((f'{loader}.dataset.pipeline.{number}.{name}', value)
                          for name, value in _step_fields(type_name(step), size).items())
    return fields


def _step_fields(kind: str, size: Tuple[int, int]) -> Dict[str, Any]:
    """What makes a step of a pipeline one for images of a size: (H, W), or (W, H) of the crop."""
    before, square = size_before_crop(size), size[0] == size[1]
    if kind == 'RandomResizedCrop':
        return dict(scale=size[0] if square else size)
    if kind == 'CenterCrop':
        return dict(crop_size=size[0] if square else size[::-1])
    if kind == 'ResizeEdge':  # mmpretrain's knows no oblong sizes
        return dict(scale=before[0]) if square else dict(type='mmwamim.ResizeEdge', scale=before)
    return {}
