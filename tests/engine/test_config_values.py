"""Values of the wrong kind or out of range, each refused with its place, before a build."""
import pytest
from mmengine.config import Config

from mmwamim.engine.config.check import check_config
from mmwamim.errors import UserError
from tests.support.commands import QUICK, ROOT

WRONG = [
    ('model.mask_ratio', 'abc', 'must be a number'),
    ('model.backbone.img_size', 'abc', 'must be a number'),  # not annotated
    ('model.target_generator.levels', 'abc', 'must be a list of int'),
    ('model', 5, 'must be a dict of fields'),
    ('train_dataloader', 5, 'must be a dict of fields'),
    ('train_dataloader.dataset', 5, 'must be a dict of fields'),
    ('model.backbone', 'vit', 'must be a dict of fields'),
    ('custom_hooks', 'abc', 'must be a list of dicts'),
    ('param_scheduler', 5, 'must be a list of dicts'),
    ('train_cfg.max_epochs', 0, 'must be an integer of at least 1'),
    ('train_cfg.max_epochs', 'abc', 'must be an integer of at least 1'),
    ('train_cfg.max_epochs', 2**40, 'must be an integer of at least 1, 2147483647 at most'),
    ('train_dataloader.batch_size', -1, 'must be an integer of at least 1'),
    ('train_dataloader.num_workers', -1, 'must be an integer of at least 0'),
    ('randomness.seed', 'abc', 'must be an integer of at least 0'),
    ('optim_wrapper.optimizer.lr', float('nan'), 'must be a number of at least 0'),
    ('optim_wrapper.optimizer.lr', -1, 'must be a number of at least 0'),
    ('optim_wrapper.optimizer.betas', 'abc', 'must be a list'),
    ('optim_wrapper.optimizer.type', 'Adamm', "there is no optimizer 'Adamm'; did you mean 'Adam'"),
    ('default_hooks.logger.interval', 0, 'must be an integer of at least 1'),
    ('default_hooks.checkpoint.interval', 'abc', 'must be an integer'),
    ('log_level', 'LOUD', 'must be one of DEBUG'), ('visualizer', 3, 'must be a dict of fields'),
    ('log_processor', 3, 'must be a dict of fields'), ('default_scope', 3, 'must be a text'),
    ('load_from', 3, 'must be a text'), ('resume', 'epoch_1.pth', 'must be True or False')]


@pytest.mark.parametrize('place, value, message', WRONG)
def test_a_wrong_value_is_named(place, value, message):
    cfg = Config.fromfile(ROOT / QUICK)
    check_config(cfg)
    cfg.merge_from_dict({place: value})
    with pytest.raises(UserError) as caught:
        check_config(cfg)
    assert str(caught.value).startswith(place) and message in str(caught.value)


def test_values_that_others_annotate_more_narrowly_than_they_take_are_let_pass():
    cfg = Config.fromfile(ROOT / QUICK)
    cfg.merge_from_dict({'optim_wrapper.optimizer.type': 'Lamb',  # of mmpretrain
                         'optim_wrapper.optimizer.lr': 1, 'model.backbone.img_size': (64, 64)})
    cfg.optim_wrapper.optimizer = dict(type='Lamb', lr=1)
    cfg.default_hooks.checkpoint.interval = -1
    cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale=512.)  # annotated as a text
    check_config(cfg)
    cfg = Config.fromfile(ROOT / 'configs/wamim/swin_b_100e.py')
    cfg.model.backbone.img_size = (224, 448)
    check_config(cfg)
