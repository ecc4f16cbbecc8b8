"""Batch size, processes and accumulation: the same learning rate and the same gradient."""
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper

from mmwamim.engine.config.step import settle_accumulation
from mmwamim.engine.training.runner import TrainingRunner
from mmwamim.errors import UserError
from tests.models.test_wamim import build, fix_masks
from tests.support.commands import ROOT
from tests.support.models import noise, total_loss


@pytest.mark.parametrize('processes, batch, counts', [(8, 512, 1), (4, 512, 2), (1, 64, 64)])
def test_the_same_learning_rate(processes, batch, counts):
    """Of every group, of the rate that is logged, and again of the config that a run has left."""
    cfg = Config.fromfile(ROOT / 'configs/wamim/vit_b_400e.py')
    cfg.optim_wrapper.accumulative_counts = counts
    settle_accumulation(cfg)
    settle_accumulation(cfg)
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    wrapper = OptimWrapper(torch.optim.SGD([
        dict(params=weights[:1]), dict(params=weights[1:], lr=cfg.optim_wrapper.optimizer.lr / 2)],
        lr=cfg.optim_wrapper.optimizer.lr), accumulative_counts=counts)
    runner = SimpleNamespace(_train_dataloader=dict(batch_size=batch), world_size=processes,
                             logger=SimpleNamespace(info=lambda text: None))
    TrainingRunner.scale_lr(runner, wrapper, cfg.auto_scale_lr)
    whole = 2e-4 * 4096 / 256
    assert [group['lr'] for group in wrapper.param_groups] == pytest.approx(
        [whole, whole / 2, whole])
    with pytest.raises(UserError, match='base_batch_size must be'):
        TrainingRunner.scale_lr(runner, wrapper, dict(enable=True))


def test_the_same_gradient():
    images = noise(4, 3, 64, 64)
    torch.manual_seed(3)
    masks = build().plan_mask(images).mask

    def gradients(parts):
        model = build()
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.),
                               accumulative_counts=len(parts))
        wrapper.initialize_count_status(model, 0, len(parts))
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        for part in parts:
            fix_masks(model, masks[part])
            wrapper.update_params(total_loss(model.loss(images[part])))
        return {name: before[name] - p.detach() for name, p in model.named_parameters()
                if p.requires_grad}

    whole = gradients([slice(0, 4)])
    for parts in ([slice(0, 2), slice(2, 4)], [slice(i, i + 1) for i in range(4)]):
        for name, value in gradients(parts).items():
            torch.testing.assert_close(value, whole[name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize('counts', [0, -1, 1.5, 'two'])
def test_bad_counts_are_named(counts):
    with pytest.raises(UserError, match='accumulative_counts must be a positive integer'):
        settle_accumulation(Config(dict(optim_wrapper=dict(accumulative_counts=counts))))
