import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import Linear as MMCVLinear
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmwamim.models import linear as module
from mmwamim.models.linear import Linear, linear, use_fast_linear
from tests.helpers import noise


@pytest.fixture
def onednn(monkeypatch):
    """The path of processors for which oneDNN is the faster, on any processor; counts calls."""
    calls, convolve = [], F.conv2d

    def count(*arguments, **fields):
        calls.append(arguments)
        return convolve(*arguments, **fields)

    monkeypatch.setattr(module, 'onednn_is_faster', lambda: True)
    monkeypatch.setattr(module.F, 'conv2d', count)
    return calls


def gradients(function, *tensors):
    leaves = [None if t is None else t.clone().requires_grad_() for t in tensors]
    out = function(*leaves)
    (out * noise(*out.shape, seed=9).to(out)).sum().backward()
    return out, *(leaf.grad for leaf in leaves if leaf is not None)


@pytest.mark.parametrize('shape', [(16, 50, 96), (2352, 96), (1, 400, 96), (4, 7, 7, 2, 96)])
@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('threads', [1, 2])
def test_values_and_gradients_are_those_of_float64(onednn, shape, bias, threads):
    x, weight = noise(*shape), noise(40, 96, seed=1)
    bias = noise(40, seed=2) if bias else None
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    found = gradients(linear, x, weight, bias)
    torch.set_num_threads(before)
    assert len(onednn) == 1
    expected = gradients(F.linear, *(None if t is None else t.double() for t in (x, weight, bias)))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32 and ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs.float(), rtol=1e-4, atol=1e-3)


def test_tokens_in_any_order_in_memory(onednn):
    x = noise(96, 50, 16).transpose(0, 2)
    torch.testing.assert_close(linear(x, noise(40, 96)), F.linear(x, noise(40, 96)), rtol=1e-4,
                               atol=1e-4)
    assert len(onednn) == 1


def test_everything_else_is_the_plain_layer(onednn):
    x, weight = noise(16, 50, 96), noise(40, 96)
    linear(x[:2], weight)  # few values
    linear(x.double(), weight.double())
    linear(x.bfloat16(), weight.bfloat16())
    with torch.autocast('cpu', torch.bfloat16):
        assert linear(x, weight).dtype == torch.bfloat16
    layer = Linear(96, 40)
    program = torch.export.export(layer, (x,))
    assert any('linear' in str(node.target) for node in program.graph.nodes)
    traced = torch.jit.trace(layer, x, check_trace=False)
    assert 'aten::linear' in str(traced.inlined_graph)
    explained = torch._dynamo.explain(layer)(x)
    assert explained.graph_count == 1 and explained.graph_break_count == 0
    with torch.backends.mkldnn.flags(enabled=False):
        linear(x, weight)
    assert not onednn
    linear(x, weight)
    assert len(onednn) == 1


def test_operations_are_counted_as_those_of_a_linear_layer(onednn):
    x, weight = noise(16, 50, 96).requires_grad_(), noise(40, 96).requires_grad_()
    with FlopCounterMode(display=False) as counter:
        linear(x, weight).sum().backward()
    assert len(onednn) == 1
    assert counter.get_total_flops() == 3 * 2 * 16 * 50 * 96 * 40


def test_layers_keep_their_parameters():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 4), nn.Sequential(MMCVLinear(4, 4)), nn.LayerNorm(4),
                          nn.Linear(4, 2, bias=False))
    state, x = {name: value.clone() for name, value in model.state_dict().items()}, noise(3, 8)
    expected = model(x)
    assert use_fast_linear(model) == 3
    assert [type(m) for m in model.modules() if isinstance(m, nn.Linear)] == [Linear] * 3
    assert list(model.state_dict()) == list(state)
    torch.testing.assert_close(model(x), expected)
    assert use_fast_linear(model) == 0


def test_in_evaluation_it_is_the_plain_layer_to_the_bit(onednn):
    layer, x = Linear(96, 40), noise(16, 50, 96)
    assert torch.equal(layer.eval()(x), F.linear(x, layer.weight, layer.bias)) and not onednn
    layer.train()(x)
    assert len(onednn) == 1
