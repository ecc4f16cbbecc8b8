"""transformers' ViTModel and SwinModel: a folder that ``AutoModel.from_pretrained`` loads."""
import json
from pathlib import Path
from typing import Dict, Tuple, Union

from mmengine.utils import to_2tuple
from torch import Tensor, nn

from mmwamim.datasets.crop import Size
from mmwamim.errors import UserError
from mmwamim.evaluation.features import size_before_crop

from .names import SWIN_TRANSFORMERS, VIT_TRANSFORMERS
from .timm import SWIN_LEFT, check_left


def to_transformers(encoder: nn.Module, size: Size) -> Tuple[dict, Dict[str, Tensor]]:
    """transformers' config and state dict of an encoder, both under the names of its files.

    ``last_hidden_state`` is the feature map of the encoder, after the final norm; of a ViT the
    class token comes first. The pooler of ViTModel is not in the state dict: nothing here trains
    one.

    Args:
        encoder: A ViT or Swin Transformer of ``mmwamim`` or ``mmpretrain``.
        size: Side of its images, in pixels, or height and width.

    Raises:
        UserError: transformers has no such network.

    Examples:
        >>> config, state = to_transformers(encoder, 224)  # doctest: +SKIP
        >>> transformers.ViTModel(transformers.ViTConfig(**config))  # doctest: +SKIP
    """
    is_vit = hasattr(encoder, 'layers')
    config = _vit_config(encoder) if is_vit else _swin_config(encoder)
    projection = encoder.patch_embed.projection
    height, width = to_2tuple(size)
    config.update(image_size=height if height == width else [height, width],
                  patch_size=projection.kernel_size[0], num_channels=projection.in_channels,
                  hidden_act='gelu')
    if is_vit:
        renamed, left = VIT_TRANSFORMERS.to_theirs(encoder.state_dict()), ''
    else:
        renamed = SWIN_TRANSFORMERS.to_theirs(encoder.state_dict(), len(encoder.stages))
        left = SWIN_LEFT
    check_left(renamed.unknown, left, 'transformers')
    return config, {name: value.contiguous() for name, value in renamed.state.items()}


def _vit_config(encoder: nn.Module) -> dict:
    layer = encoder.layers[0]
    if encoder.cls_token is None:
        raise UserError("transformers' ViTModel always has a class token and this encoder has "
                        'none (with_cls_token=False): export it to timm or onnx')
    odd = [name for name in ('pre_norm', ) if not isinstance(getattr(encoder, name), nn.Identity)]
    if not isinstance(layer.attn.gamma1, nn.Identity):
        odd.append('layer_scale_init_value')
    if odd or not encoder.final_norm:
        raise UserError("transformers' ViTModel has a final norm, and no "
                        f'{" or ".join(odd or ["encoder without it (final_norm=False)"])}')
    return dict(architectures=['ViTModel'], model_type='vit', hidden_size=encoder.embed_dims,
                num_hidden_layers=encoder.num_layers,
                num_attention_heads=encoder.arch_settings['num_heads'],
                intermediate_size=encoder.arch_settings['feedforward_channels'],
                layer_norm_eps=layer.ln1.eps, qkv_bias=layer.attn.qkv.bias is not None)


def _swin_config(encoder: nn.Module) -> dict:
    first = encoder.stages[0].blocks[0]
    windows = [stage.blocks[0].attn.window_size for stage in encoder.stages]
    if len(set(windows)) > 1:
        raise UserError("transformers' SwinModel has one window size for all stages and this "
                        f'encoder has {windows}: give images whose last grid holds a window, or '
                        'export it to timm')
    if len(encoder.stages) - 1 not in encoder.out_indices:
        raise UserError("transformers' SwinModel ends with the last stage's norm, and this encoder "
                        f'has norms of stages {tuple(encoder.out_indices)} only')
    ratio = first.ffn.layers[0][0].out_features / encoder.embed_dims
    return dict(architectures=['SwinModel'], model_type='swin', embed_dim=encoder.embed_dims,
                depths=list(encoder.depths), num_heads=list(encoder.num_heads),
                window_size=windows[0], mlp_ratio=ratio, layer_norm_eps=first.norm1.eps,
                qkv_bias=first.attn.w_msa.qkv.bias is not None,
                use_absolute_embeddings=bool(encoder.use_abs_pos_embed))


def image_processor(preprocessor: dict, size: Size) -> dict:
    """preprocessor_config.json: 8 / 7 of ``size``, bicubic, the centre crop, then mean and
    deviation of the run's data preprocessor (there of 0 to 1, here of 0 to 255).

    As ``encoder.preprocess`` with ``AutoImageProcessor.from_pretrained(folder, backend='pil')``.
    What no file can change: by default transformers 5 resizes with torchvision, which rounds some
    values to the next grey level (of noise to the second); where 3, 7, 11, ... rows or columns are
    left around the crop, it begins one earlier than here and in timm; and where ``size`` is oblong
    and a picture has another aspect ratio, the picture is squashed, since no processor of
    transformers covers such a size."""
    mean, std = preprocessor.get('mean'), preprocessor.get('std')
    height, width = to_2tuple(size)
    rows, columns = size_before_crop(size)
    scaled = mean is not None
    config = dict(image_processor_type='BitImageProcessor', do_resize=True,
                  resample=3, size=dict(
                      shortest_edge=rows) if rows == columns else dict(height=rows, width=columns),
                  do_center_crop=True, crop_size=dict(height=height, width=width),
                  do_rescale=scaled,
                  rescale_factor=1 / 255, do_normalize=scaled,
                  do_convert_rgb=not scaled or len(mean) == 3)
    if scaled:
        config.update(image_mean=[value / 255 for value in mean],
                      image_std=[value / 255 for value in std])
    return config


def write_folder(encoder: nn.Module, size: Size, preprocessor: dict,
                 folder: Union[str, Path]) -> None:
    """Writes config.json, preprocessor_config.json and model.safetensors.

    Raises:
        UserError: As :func:`to_transformers`.
    """
    from safetensors.torch import save

    from mmwamim.engine.checkpoints.writing import write_atomically  # it imports this package
    config, state = to_transformers(encoder, size)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {'config.json': dict(config, dtype='float32', torch_dtype='float32'),
             'preprocessor_config.json': image_processor(preprocessor, size)}
    for name, content in files.items():
        write_atomically(f'{json.dumps(content, indent=2)}\n'.encode(), folder / name)
    write_atomically(save(state, metadata=dict(format='pt')), folder / 'model.safetensors')
