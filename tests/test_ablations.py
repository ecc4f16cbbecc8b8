"""Every row of the ablations builds; the numbers a file is named after are in its config."""
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from tests.support.commands import ROOT

CONFIGS = sorted((ROOT / 'configs/wamim/ablations').glob('*.py'))


def test_every_row_of_both_encoders_is_there():
    rows = ['mask_ratio_04', 'mask_ratio_06', 'mask_ratio_075', 'mask_ratio_09', 'levels_5',
            'levels_4', 'levels_3', 'decoder_512', 'decoder_256', 'decoder_128', 'weights_equal',
            'weights_moderate', 'weights_strong', 'weights_reversed']
    wanted = {f'{encoder}_{row}' for encoder in ('vit_b', 'swin_b') for row in rows}
    wanted |= {f'vit_b_locations_{row}' for row in ('last', 'head_tail', 'swin_style', 'uniform')}
    wanted |= {f'swin_b_locations_{row}' for row in (1, 2, 3, 4)}
    wanted.add('swin_b_token_grids')
    assert {path.stem for path in CONFIGS} == wanted


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_builds_and_predicts_what_its_target_wants(path):
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(path)
    model = MODELS.build(cfg.model)
    targets = model.target_generator
    assert len(model.neck.levels) == len(targets.channels) == len(model.head.loss_weights)
    for decoder, channels in zip(model.neck.levels, targets.channels, strict=True):
        assert decoder.predict.out_channels == channels
    name = path.stem
    if 'mask_ratio' in name:
        assert f'mask_ratio_{str(model.mask_ratio).replace(".", "")}' in name
    if 'levels_' in name:
        assert name.endswith(f'levels_{targets.levels[-1]}')
    if 'decoder_' in name:
        assert name.endswith(f'decoder_{model.neck.levels[0].embed_dims}')
    if name == 'swin_b_token_grids':
        assert targets.levels == (3, 4, 5, 5)
        assert targets.grid_strides == tuple(model.backbone.feature_strides)
    encoder = 'swin_b' if name.startswith('swin_b') else 'vit_b'
    default = Config.fromfile(ROOT / f'configs/wamim/{encoder}_100e.py')
    if name.endswith(('075', 'levels_5', 'moderate', 'uniform', 'locations_4')):
        assert cfg.model == default.model
    assert cfg.train_cfg == default.train_cfg and cfg.param_scheduler == default.param_scheduler
