"""Small models to try the parts of the package on, and what is given to them."""
import torch
from mmengine.config import Config

from mmwamim.models import WaMIM
from mmwamim.registry import MODELS
from tests.support.commands import ROOT

TINY = dict(embed_dims=32, num_layers=4, num_heads=2, feedforward_channels=64)
LOSS_WEIGHTS = (0.8, 0.9, 1.1, 1.2)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def shake(module, scale=0.1):
    """Moves every parameter away from the zeros and ones that hide mistakes."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += scale * torch.randn_like(parameter)
    return module


def build_wamim(*, size=64, patch=8, channels=3, levels=(1, 2, 3, 4), backbone=(), neck=(),
                head=(), target=(), seed=0, **fields):
    """A tiny WaMIM of four levels."""
    torch.manual_seed(seed)
    return WaMIM(
        backbone=dict(dict(type='mmwamim.MaskedViT', arch=TINY, img_size=size, patch_size=patch,
                           in_channels=channels, out_indices=(0, 1, 2, 3), out_type='raw'),
                      **dict(backbone)),
        neck=dict(dict(type='mmwamim.MultiLevelDecoder', embed_dims=32, num_heads=2),
                  **dict(neck)),
        head=dict(dict(type='mmwamim.MultiLevelMIMHead', loss_weights=LOSS_WEIGHTS),
                  **dict(head)),
        target_generator=dict(dict(type='mmwamim.WaveletTargetGenerator', levels=levels,
                                   in_channels=channels), **dict(target)),
        **fields)


def level_losses(results):
    """What a model's ``loss`` returns without its reports, in order."""
    return [value for name, value in results.items() if 'loss' in name]


def total_loss(results):
    """The loss as MMEngine sums it up."""
    return sum(level_losses(results))


def save_encoder(path, config, **changes):
    """An encoder with weights that hide nothing, and its checkpoint."""
    torch.manual_seed(0)
    cfg = Config.fromfile(ROOT / config)
    cfg.model.backbone.update(changes)
    encoder = shake(MODELS.build(cfg.model.backbone), 0.02)
    state = {f'backbone.{name}': value for name, value in encoder.state_dict().items()}
    torch.save(dict(meta=dict(config=cfg.pretty_text), state_dict=state), path)
    return encoder
