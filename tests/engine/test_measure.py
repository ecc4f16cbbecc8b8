import time

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmwamim.engine.training.measure import (
    Step,
    build_step,
    count_flops,
    count_flops_in_batch,
    count_parameters,
    matrix_rate,
    noise_batch,
    peak_memory,
    run_step,
)
from mmwamim.errors import UserError
from tests.support.commands import ROOT


def test_flops_of_a_linear_layer_by_hand():
    layer, x = nn.Linear(32, 64), torch.randn(10, 32)
    step = Step(layer, lambda: layer(x).sum(), 10)
    # forward and the weight's gradient; the input takes none
    assert count_flops(step) == 2 * (2 * 32 * 64)
    x.requires_grad_()
    assert count_flops(step) == 3 * (2 * 32 * 64)


def test_what_a_batch_shares_is_divided_among_its_images():
    """As counted at that batch; an image of a step of 2 takes more, its part of what is shared."""
    cfg = Config.fromfile(ROOT / 'configs/evidence/imagenette/partial.py')
    small, larger, whole = (build_step(cfg, batch) for batch in (2, 4, 24))
    predicted = count_flops_in_batch(small, larger, 24)
    assert predicted == pytest.approx(count_flops(whole), rel=1e-6)
    assert predicted < 0.99 * count_flops(small)


@pytest.mark.parametrize('config, encoder, dense_decoders', [
    ('vit_s_300e', 6.7, 4.8), ('swin_b_400e', 22.7, 2.6)])
def test_flops_of_full_size_steps(config, encoder, dense_decoders):
    """The encoder's as counted by hand, in 10^9 an image; decoders that compute every token would
    take ``dense_decoders`` more, and ours leave out at least a tenth of that."""
    cfg = Config.fromfile(ROOT / f'configs/wamim/{config}.py')
    ours = count_flops(build_step(cfg, 2, part='encoder')) / 1e9
    step = count_flops(build_step(cfg, 2)) / 1e9
    assert ours == pytest.approx(encoder, rel=0.03)
    assert 0.4 * dense_decoders < step - ours < 0.9 * dense_decoders


@pytest.mark.parametrize('name', ['wamim', 'mae'])
def test_steps_leave_no_gradient_and_take_time(name):
    step = build_step(Config.fromfile(ROOT / f'configs/evidence/{name}.py'), 4)
    assert 0 < run_step(step) < 60
    assert all(p.grad is None for p in step.model.parameters())
    encoder, trained = count_parameters(step.model)
    assert encoder == pytest.approx(0.906, abs=0.001) and trained > encoder
    assert peak_memory(step) > 100


def test_matrix_rate_is_that_of_the_product():
    a = torch.randn(512, 512)
    rate = matrix_rate(size=512, rounds=20)
    started = time.perf_counter()
    for _ in range(20):
        a @ a
    plain = 20 * 2 * 512**3 / (time.perf_counter() - started)
    assert plain / 5 < rate < plain * 5


def test_a_config_of_another_task_is_named_by_its_file():
    path = ROOT / 'configs/classification/vit_s_ft_200e.py'
    with pytest.raises(UserError, match='vit_s_ft_200e.py: steps of pre-training are measured, on'):
        noise_batch(Config.fromfile(path), 2)
    cfg = Config.fromfile(ROOT / 'configs/quickstart/vit_tiny_pretrain.py')
    cfg.train_dataloader.dataset.pipeline = []
    with pytest.raises(UserError, match='dataset.pipeline gives no inputs: its last step must be'):
        noise_batch(cfg, 2)
