import copy

import torch

from mmwamim.engine.compile import compile_parts
from tests.helpers import build_wamim, noise


def test_compiled_losses_and_gradients_are_those_of_eager():
    torch.manual_seed(0)
    eager = build_wamim()
    eager.init_weights()
    compiled = copy.deepcopy(eager)
    names = list(compiled.state_dict())
    layers = len(compiled.backbone.layers)
    assert compile_parts(compiled) == layers + len(compiled.neck.levels)
    assert list(compiled.state_dict()) == names
    images = noise(2, 3, 64, 64)
    found = []
    for model in (eager, compiled):
        for seed in (1, 2):  # another mask, the same shapes
            torch.manual_seed(seed)
            losses = model.loss(images)
        sum(losses.values()).backward()
        found.append((losses, [p.grad for p in model.parameters() if p.grad is not None]))
    (expected, theirs), (losses, ours) = found
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name], rtol=1e-5, atol=1e-6)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
