"""No bad step gets past the optimizer wrapper, and nothing in a step is read back."""
import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmpretrain.engine.optimizers import LARS
from torch import nn

from mmwamim.engine import GuardedEMAHook, GuardedOptimWrapper
from tests.support.models import noise
from tests.support.pretended_gpu import NoReadBack
from tests.support.processes import in_two_processes

OPTIMIZERS = {
    'fused AdamW': lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1, fused=True),
    'foreach AdamW': lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1, foreach=True),
    'AdamW': lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1, foreach=False),
    'SGD': lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    'LARS': lambda p: LARS(p, lr=0.1, momentum=0.9, weight_decay=0.1),
}


class Network(nn.Module):
    """With a running mean, a moving average that a forward pass moves, and a bad gradient."""

    def __init__(self, batch_norm=True):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 2)
        self.norm = nn.BatchNorm1d(6) if batch_norm else nn.Identity()
        self.teacher = ExponentialMovingAverage(self.first, momentum=0.5)

    def forward(self, x, bad=None):
        self.teacher.update_parameters(self.first)
        y = self.norm(self.first(x))
        if bad == 'gradient' and y.requires_grad:
            y.register_hook(lambda gradient: gradient * torch.nan)
        loss = self.second(y).square().mean()
        return loss + torch.inf if bad == 'loss' else loss


def train(model, wrapper, steps):
    """A step on noise for each pair of a seed and what is bad about it."""
    for seed, bad in steps:
        with wrapper.optim_context(model):
            loss = model(noise(8, 4, seed=seed), bad)
        wrapper.update_params(loss)


def state(model, wrapper):
    """Everything a checkpoint would hold, with moments by number and name."""
    moments = {(index, name): value for index, saved in wrapper.state_dict()['state'].items()
               for name, value in saved.items() if value is not None}
    return copy.deepcopy({**model.state_dict(), **moments})


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in other.items():
        torch.testing.assert_close(one[name], value, rtol=0, atol=0, msg=str(name))


@pytest.mark.parametrize('bad', ['loss', 'gradient'])
@pytest.mark.parametrize('name', OPTIMIZERS)
def test_a_bad_step_changes_nothing(name, bad):
    def run(*steps):
        model = Network()
        wrapper = GuardedOptimWrapper(OPTIMIZERS[name](
            [*model.first.parameters(), *model.norm.parameters(), *model.second.parameters()]))
        train(model, wrapper, steps)
        return model, wrapper

    model, wrapper = run((1, None), (2, None))
    before = state(model, wrapper)
    train(model, wrapper, [(3, bad)])
    assert not wrapper.take_reports()['good']
    assert_same(state(model, wrapper), before)
    train(model, wrapper, [(4, None)])
    assert_same(state(model, wrapper), state(*run((1, None), (2, None), (4, None))))
    # A first step that is bad leaves moments that are as good as none.
    assert_same(state(*run((3, bad), (1, None))), state(*run((1, None))))


def sgd(model, **fields):
    parameters = [*model.first.parameters(), *model.second.parameters()]
    return GuardedOptimWrapper(torch.optim.SGD(parameters, lr=1., momentum=0.5), **fields)


def gradient_of(seeds):
    """The mean gradient of some steps, by hand."""
    model = Network(batch_norm=False)
    (sum(model(noise(8, 4, seed=seed)) for seed in seeds) / len(seeds)).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()
            if parameter.requires_grad}


@pytest.mark.parametrize('bad', ['loss', 'gradient'])
def test_a_bad_step_of_four_leaves_the_mean_of_the_other_three(bad):
    model = Network(batch_norm=False)
    wrapper = sgd(model, accumulative_counts=4)
    wrapper.initialize_count_status(model, 0, 7)
    before = copy.deepcopy(dict(model.named_parameters()))
    train(model, wrapper, [(0, None), (1, None), (2, bad)])
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:  # the moving average moves at every step
            assert torch.equal(parameter, before[name])
    train(model, wrapper, [(3, None)])
    for name, gradient in gradient_of([0, 1, 3]).items():
        torch.testing.assert_close(model.state_dict()[name], before[name] - gradient)
    after = state(model, wrapper)
    # The last window of the run has three steps: all bad, so it changes nothing.
    train(model, wrapper, [(4, bad), (5, bad), (6, bad)])
    assert not wrapper.take_reports()['good']
    assert_same(state(model, wrapper), after)


def test_the_norm_is_reported_and_nothing_is_clipped_unless_asked():
    gradient = gradient_of([0])
    norm = torch.cat([value.flatten() for value in gradient.values()]).norm()
    for clip, factor in (None, 1.), (dict(max_norm=norm / 4), 0.25), (dict(max_norm=1e9), 1.):
        model = Network(batch_norm=False)
        before = copy.deepcopy(model.state_dict())
        wrapper = sgd(model, clip_grad=clip)
        train(model, wrapper, [(0, None)])
        torch.testing.assert_close(wrapper.take_reports()['grad_norm'], norm)
        for name, value in gradient.items():
            torch.testing.assert_close(model.state_dict()[name], before[name] - factor * value)
    model = Network(batch_norm=False)
    before = copy.deepcopy(model.state_dict())
    train(model, sgd(model, clip_grad=dict(type='value', clip_value=0.01)), [(0, None)])
    for name, value in gradient.items():
        torch.testing.assert_close(model.state_dict()[name],
                                   before[name] - value.clamp(-0.01, 0.01))


@pytest.mark.parametrize('accumulated', [1, 2])
def test_a_step_reads_nothing_back(accumulated):
    model = nn.Linear(4, 2)
    wrapper = GuardedOptimWrapper(OPTIMIZERS['fused AdamW'](model.parameters()), accumulated,
                                  clip_grad=dict(max_norm=1.))
    with NoReadBack():
        for _ in range(4):
            with wrapper.optim_context(model):
                loss = model(noise(3, 4)).square().mean()
            wrapper.update_params(loss)
        with pytest.raises(AssertionError, match='read back'):
            loss.item()


def test_a_moving_average_of_the_hook_ignores_bad_steps():
    model, hook = Network(), GuardedEMAHook(momentum=0.1)
    wrapper = sgd(model)
    runner = SimpleNamespace(model=model, optim_wrapper=wrapper, iter=5, epoch=0)
    hook.before_run(runner)
    for seed, bad in (0, None), (1, None), (2, 'loss'), (3, None):
        train(model, wrapper, [(seed, bad)])
        before = copy.deepcopy(hook.ema_model.state_dict())
        hook.after_train_iter(runner, 0)
        same = all(torch.equal(value, before[name])
                   for name, value in hook.ema_model.state_dict().items())
        assert same == (bad is not None)


def test_bad_fields_are_named():
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.)
    with pytest.raises(ValueError, match='clip_grad of type .norm. takes max_norm, norm_type'):
        GuardedOptimWrapper(optimizer, clip_grad=dict(maxnorm=1.))
    with pytest.raises(ValueError, match="type must be 'norm' or 'value', not 'x'"):
        GuardedOptimWrapper(optimizer, clip_grad=dict(type='x'))
    with pytest.raises(ValueError, match='float16. needs|not .float16.'):
        GuardedOptimWrapper(optimizer, dtype='float16')


def _two_processes(rank):
    """A bad step on one process alone, with and without accumulation, under DDP and FSDP."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    def learn(shard, counts, steps):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 2))
        start = [value.clone() for value in model.state_dict().values()]
        if shard:
            fully_shard(model, mesh=init_device_mesh('cpu', (2, )))
        else:
            model = DistributedDataParallel(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
        wrapper = GuardedOptimWrapper(optimizer, accumulative_counts=counts)
        for seed, bad in steps:
            with wrapper.optim_context(model):
                loss = model(noise(4, 4, seed=2 * seed + rank)).square().mean()
            wrapper.update_params(loss * float('nan') if bad and rank == 1 else loss)
            assert wrapper.take_reports()['good'] == (not bad)
        values = [value.full_tensor() if shard else value for value in model.state_dict().values()]
        return start, values

    def alone(updates):
        """The same on one process: mean gradients of the good steps of each update."""
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 2))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
        for seeds in updates:
            losses = [model(noise(4, 4, seed=2 * seed + of)).square().mean()
                      for seed in seeds for of in (0, 1)]
            optimizer.zero_grad()
            (sum(losses) / len(losses)).backward()
            optimizer.step()
        return list(model.state_dict().values())

    for shard in (False, True):
        start, values = learn(shard, 1, [(0, True)])
        for one, other in zip(values, start, strict=True):
            assert torch.equal(one, other)
        for counts, steps, updates in (
                (1, [(0, False), (1, True), (2, False)], [[0], [2]]),
                (4, [(0, False), (1, False), (2, True), (3, False)], [[0, 1, 3]])):
            _, values = learn(shard, counts, steps)
            for one, other in zip(values, alone(updates), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_bad_step_of_one_process_is_bad_for_all():
    in_two_processes(_two_processes)
