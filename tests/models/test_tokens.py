"""Values and gradients are those of plain indexing, also where half precision adds up."""
import pytest
import torch

from mmwamim.models.masking import MaskPlan, draw_mask
from mmwamim.models.tokens import put, reorder, take
from tests.support.models import noise


def gradients(function, *tensors):
    leaves = [t.clone().requires_grad_() for t in tensors]
    out = function(*leaves)
    (out * noise(*out.shape, seed=9).to(out)).sum().backward()
    return out, *(leaf.grad for leaf in leaves)


def plan_of(batch):
    torch.manual_seed(0)
    return MaskPlan.from_mask(draw_mask(batch, (4, 6), 0.6))


@pytest.mark.parametrize('shared', [False, True])
def test_reorder(shared):
    plan, tokens = plan_of(1 if shared else 3), noise(3, 24, 5).double()
    found = gradients(lambda x: reorder(x, plan.order, plan.inverse), tokens)
    images = torch.arange(3)[:, None]
    expected = gradients(lambda x: x[images, plan.order.expand(3, -1)], tokens)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_of_empty_slots_no_gradient_comes_back():
    order, inverse = torch.tensor([[2, 0, 0]]), torch.tensor([[1, 2, 0]])
    tokens = noise(1, 3, 2).requires_grad_()
    reorder(tokens, order, inverse).sum().backward()
    assert tokens.grad.tolist() == [[[1., 1.]] * 3]


@pytest.mark.parametrize('batch', [1, 4])
def test_take(batch):
    plan, table = plan_of(batch), noise(24, 5).double()
    for places in (plan.visible, plan.masked):
        found = gradients(lambda t, places=places: take(t, places), table)
        expected = gradients(lambda t, places=places: t[places], table)
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_put():
    plan, tokens = plan_of(3), noise(3, 15, 2, 5).double()
    out, gradient = gradients(lambda x: put(x, plan.masked, 24), tokens)
    expected = torch.zeros(3, 24, 2, 5).double()
    for image in range(3):
        for token, place in enumerate(plan.masked[image].tolist()):
            expected[image, place] = tokens[image, token]
    assert torch.equal(out, expected)
    probe = noise(3, 24, 2, 5, seed=9).double()
    assert torch.equal(gradient, torch.stack([probe[b, plan.masked[b]] for b in range(3)]))
