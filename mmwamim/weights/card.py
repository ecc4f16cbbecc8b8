"""The model card of an exported encoder."""
import shlex
from typing import Sequence, Tuple

from mmengine.config import Config

from mmwamim.evaluation.features import size_before_crop

MARK = 'tags: [masked-image-modeling, image-feature-extraction, mmwamim]'  # of a card from here
CARD = """---
license: {license}
{mark}
---
# {name}

| | |
|---|---|
| Encoder | {encoder}, {parameters:.3g} million parameters, images of {size} px |
| Data | {data} |
| Recipe | {recipe} |
| Written by | `{command}` |
| Licence | {license} |

{how} by mmwamim. Images are resized to just cover {before} px (bicubic), cropped at the centre,
and normalised with mean {mean} and standard deviation {std} (values of 0 to 255).
"""


def model_card(cfg: Config, encoder, size: Tuple[int, int], name: str, command: Sequence[str],
               license: str = None) -> str:
    """The text of README.md, filled from the config of the run.

    Args:
        cfg: Of the run; a top-level ``license`` is taken over.
        encoder: What was exported.
        size: Height and width of its images, in pixels.
        name: Of the file or folder.
        command: The command line that wrote it.
        license: Instead of that of the config. Default: 'unknown'.
    """
    loader, dataset = cfg.get('train_dataloader') or {}, {}
    dataset = loader.get('dataset') or {}
    preprocessor = preprocessor_of(cfg)
    epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    recipe = dict(model=cfg.model.get('type'), mask_ratio=cfg.model.get('mask_ratio'),
                  epochs=epochs, batch_size=loader.get('batch_size'),
                  optimizer=optimizer.get('type'), lr=optimizer.get('lr'))
    return CARD.format(
        mark=MARK, license=license or cfg.get('license') or 'unknown', name=name,
        size=_by(size), before=_by(size_before_crop(size)),
        how='Fine-tuned with labels' if 'ImageClassifier' in str(cfg.model.get('type'))
        else 'Pre-trained without labels',
        encoder=type(encoder).__name__,
        parameters=sum(value.numel() for value in encoder.parameters()) / 1e6,
        data=' '.join(str(dataset[key]) for key in ('data_root', 'data_prefix', 'ann_file')
                      if dataset.get(key)) or 'unknown',
        recipe=', '.join(f'{key} {value}' for key, value in recipe.items() if value is not None),
        command=shlex.join(map(str, command)), mean=preprocessor.get('mean'),
        std=preprocessor.get('std'))


def _by(size: Tuple[int, int]) -> str:
    return 'x'.join(map(str, dict.fromkeys(size)))  # 224, or 64x96


def preprocessor_of(cfg: Config) -> dict:
    """The data preprocessor's settings, at the top of a config or in its model; where neither has
    one, that of mmpretrain's self-supervised models, which ``WaMIM`` takes, too."""
    return cfg.get('data_preprocessor') or cfg.model.get('data_preprocessor') or dict(
        type='mmpretrain.SelfSupDataPreprocessor')
