"""Settles pictures of other than three channels: reader, preprocessor, encoder and target."""
from numbers import Integral
from typing import Iterator

from mmengine.config import Config

from mmwamim.datasets.listing import readable_endings
from mmwamim.errors import UserError

from .loaders import LOADERS, data_sets, say
from .reading import type_name

RESIZING = {'RandomResizedCrop': 'mmwamim.RandomResizedCrop', 'ResizeEdge': 'mmwamim.ResizeEdge'}
FOR_COLOURS = ('RandAugment', 'AutoAugment', 'RandomErasing', 'ColorJitter', 'Lighting')


def settle_channels(cfg: Config) -> None:
    """Puts ``channels`` of a config into all that must know of it; nothing where there is none.

    Raises:
        UserError: It is no number from 1 on, or mean and deviation are not of as many channels.
    """
    channels = cfg.get('channels')
    if channels is None:
        check_channels(cfg)
        return
    if not isinstance(channels, Integral) or channels < 1:
        raise UserError(f'channels must be the number of channels of the images, not {channels!r}')
    for name in LOADERS:
        for dataset in data_sets(cfg.get(name)):
            dataset.setdefault('extensions', [*readable_endings(), '.npy'])
            dataset['pipeline'] = list(_steps(dataset.get('pipeline') or [], cfg))
    for part in (cfg.get('data_preprocessor'), cfg.model.get('data_preprocessor')):
        if part is not None:
            _settle_preprocessor(part, channels)
    cfg.model.backbone.in_channels = channels
    for target in _targets(cfg.model.get('target_generator')):
        target['in_channels'] = channels


def check_channels(cfg: Config) -> None:
    """Raises UserError where an encoder is to take other channels than the images are read with,
    which torch would say of a convolution at the first step."""
    backbone = (cfg.get('model') or {}).get('backbone')
    wanted = backbone.get('in_channels', 3) if isinstance(backbone, dict) else 3
    for name in LOADERS if wanted != 3 else ():
        for dataset in data_sets(cfg.get(name)):
            for step in dataset.get('pipeline') or []:
                kind = type_name(step)
                if kind == 'LoadImage' or kind == 'LoadImageFromFile' and step.get(
                        'color_type', 'color') == 'color':
                    raise UserError(
                        f'model.backbone.in_channels is {wanted}, but {kind} of {name} reads '
                        f'images of 3 channels: set channels={wanted} for images of {wanted} '
                        'channels, or leave in_channels at 3')
    for target in _targets((cfg.get('model') or {}).get('target_generator')):
        if target.get('in_channels', wanted) != wanted:
            raise UserError(f'model.target_generator has in_channels={target["in_channels"]} and '
                            f'model.backbone {wanted}: set channels=N for images of N channels, '
                            'which sets both')


def _steps(pipeline: list, cfg: Config) -> Iterator[dict]:
    for step in pipeline:
        kind = type_name(step)
        if kind == 'LoadImage':
            fields = {name: step[name] for name in ('value_range', 'max_pixels') if name in step}
            yield dict(type='mmwamim.LoadChannels', channels=cfg.channels, **fields)
        elif kind in FOR_COLOURS:
            say(f'leaving out {kind}, which is for pictures of three 8-bit channels')
        elif kind in RESIZING:
            fields = {name: value for name, value in step.items() if name != 'backend'}
            yield dict(fields, type=RESIZING[kind])
        else:
            yield step


def _settle_preprocessor(part: dict, channels: int) -> None:
    for name in ('mean', 'std'):
        given = part.get(name)
        if given is None or len(given) not in (1, channels):
            raise UserError(
                f'data_preprocessor.{name} has {len(given or ())} values for {channels} channels: '
                f'mmwamim statistics DATA --channels {channels} prints the lines')
    part['to_rgb'] = False  # channels stay in the order of the file


def _targets(part: object) -> Iterator[dict]:
    if isinstance(part, dict):
        if 'type' in part:
            yield part
        for value in part.values():
            yield from _targets(value)
    elif isinstance(part, (list, tuple)):
        for value in part:
            yield from _targets(value)
