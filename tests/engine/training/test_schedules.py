"""Schedules at a point of a run are those of a run that has got there step by step."""
import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS

from mmwamim.engine.training.schedules import last_rate, play

EPOCHS, STEPS = 6, 5  # of a run, of an epoch
KINDS = dict(
    cosine=[dict(type='LinearLR', start_factor=0.1, begin=0, end=7, by_epoch=False),
            dict(type='CosineAnnealingLR', T_max=5, eta_min=1e-3, begin=1, end=EPOCHS)],
    by_step=[dict(type='CosineAnnealingLR', T_max=3, begin=2, end=5, convert_to_iter_based=True)],
    poly=[dict(type='PolyLR', power=0.9, eta_min=1e-4, begin=0, end=30, by_epoch=False)],
    steps=[dict(type='MultiStepLR', milestones=[2, 4], gamma=0.1), dict(
        type='ConstantLR', factor=0.5, begin=0, end=8, by_epoch=False)],
    exponential=[dict(type='ExponentialLR', gamma=0.9), dict(
        type='StepLR', step_size=2, begin=3, end=6)],
    momentum=[dict(type='CosineAnnealingMomentum', T_max=EPOCHS, eta_min=0.5),
              dict(type='OneCycleLR', eta_max=0.2, total_steps=EPOCHS * STEPS, by_epoch=False)],
    none=[])


def build(kind):
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(3)]
    wrapper = OptimWrapper(torch.optim.SGD([dict(params=[weight], lr=lr) for weight, lr in zip(
        weights, (0.1, 0.02, 0.1))], lr=0.1, momentum=0.9))
    made = []
    for config in KINDS[kind]:
        converted = config.get('convert_to_iter_based')
        made.append(PARAM_SCHEDULERS.build(
            config, default_args=dict(optimizer=wrapper, **(
                dict(epoch_length=STEPS) if converted else {}))))
    return wrapper, made


def settings(wrapper):
    return [(group['lr'], group.get('momentum')) for group in wrapper.param_groups]


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('kind', KINDS)
def test_every_point_of_a_run(kind):
    slow, schedulers = build(kind)
    rates = []
    for done in range(EPOCHS * STEPS + 1):
        quick, played = build(kind)
        play(played, quick, done // STEPS, done, STEPS)
        assert settings(quick) == settings(slow), done  # to the bit
        rates.append(max(group['lr'] for group in slow.optimizer.param_groups))
        for scheduler in schedulers:
            ends = (done + 1) % STEPS == 0
            if done < EPOCHS * STEPS and (ends or not scheduler.by_epoch):
                scheduler.step()
    for start in (0, 1, 7, EPOCHS * STEPS - 1):
        quick, played = build(kind)
        play(played, quick, start // STEPS, start, STEPS)
        before = settings(quick)
        for length in (start + 1, EPOCHS * STEPS):
            found = last_rate(played, quick, start, length, STEPS)
            assert found == pytest.approx(rates[length - 1], abs=1e-12)
        assert settings(quick) == before
