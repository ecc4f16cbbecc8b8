"""The same to the bit as torch's fused AdamW, whichever of the two goes on from a checkpoint."""
import copy

import pytest
import torch
from torch import nn

from mmwamim.engine.optim.fused_adamw import FusedAdamW
from tests.support.models import noise
from tests.support.pretended_gpu import NoReadBack

SETTINGS = dict(lr=0.1, betas=(0.8, 0.95), eps=1e-6)


def build(kind):
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 3)])
    groups = [dict(params=[p for p in model.parameters() if p.dim() > 1], weight_decay=0.1),
              dict(params=[p for p in model.parameters() if p.dim() == 1], weight_decay=0.)]
    fused = {} if kind is FusedAdamW else dict(fused=True)
    return model, kind(groups, **SETTINGS, **fused)


def train(model, optimizer, steps, rare=False):
    """With ``rare`` the last layer has a gradient in every third step alone."""
    for step in steps:
        x = model[0](noise(5, 4, seed=step))
        loss = model[1](x).square().mean()
        if not rare or step % 3 == 0:
            loss = loss + model[2](x).abs().mean()
        loss.backward()
        optimizer.found_inf = torch.tensor(float(step == 4))
        optimizer.step()
        optimizer.zero_grad()
        optimizer.param_groups[0]['lr'] *= 0.9


def assert_same(one, other):
    (model, optimizer), (expected, reference) = one, other
    for name, value in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    ours, theirs = optimizer.state_dict(), reference.state_dict()
    assert ours['param_groups'] == theirs['param_groups']
    assert ours['state'].keys() == theirs['state'].keys()
    for index, saved in theirs['state'].items():
        for name, value in saved.items():
            assert torch.equal(ours['state'][index][name], value), (index, name)


@pytest.mark.parametrize('rare', [False, True])
@pytest.mark.parametrize('first, second', [
    (FusedAdamW, FusedAdamW), (torch.optim.AdamW, FusedAdamW), (FusedAdamW, torch.optim.AdamW)])
def test_the_same_as_torch_to_the_bit(first, second, rare):
    reference = build(torch.optim.AdamW)
    train(*reference, range(7), rare)
    start = build(first)
    train(*start, range(7), rare)
    assert_same(start, reference)
    # On from the checkpoint, through a file's worth of copies as MMEngine makes them.
    going_on = build(second)
    going_on[0].load_state_dict(copy.deepcopy(start[0].state_dict()))
    going_on[1].load_state_dict(start[1].state_dict())
    for run in (reference, going_on):
        train(*run, range(7, 12), rare)
    assert_same(going_on, reference)


def test_a_step_reads_nothing_back():
    model, optimizer = build(FusedAdamW)
    train(model, optimizer, [0])
    with NoReadBack():
        train(model, optimizer, [1, 2, 4])


def test_mixed_groups_are_refused():
    parameters = [nn.Parameter(torch.ones(1, dtype=dtype)) for dtype in (torch.float32,
                                                                         torch.float64)]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    with pytest.raises(ValueError, match='one dtype and one device; take AdamW'):
        FusedAdamW(parameters).step()
