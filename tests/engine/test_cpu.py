import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import Linear as MMCVLinear
from mmengine.config import Config
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmwamim.engine import CPUHook
from mmwamim.engine.distributed import settle_processes
from mmwamim.engine.training import cpu
from mmwamim.engine.training.cpu import fast_linear, linear
from mmwamim.models import MaskedViT, SparseSwin
from tests.support.commands import ROOT
from tests.support.models import build_wamim, level_losses, noise


@pytest.fixture
def onednn(monkeypatch):
    """The path of processors for which oneDNN is the faster, on any processor; counts calls."""
    calls, convolve = [], F.conv2d

    def count(*arguments, **fields):
        if fields.get('dilation') == (2, 1):  # no convolution of a model's
            calls.append(arguments)
        return convolve(*arguments, **fields)

    monkeypatch.setattr(cpu, 'onednn_is_faster', lambda: True)
    monkeypatch.setattr(F, 'conv2d', count)
    return calls


FAULTS = '''
import resource, sys, torch
from mmwamim.commands.calls import as_a_call
from mmwamim.engine.training.cpu import keep_memory
def step():
    tensors = [torch.ones(2**23) for _ in range(4)]  # 32 MiB each: larger than glibc ever keeps
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del tensors
    tensors = [torch.ones(2**23) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def resident():
    return int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()
plain = step()
with as_a_call(trains=True):
    assert keep_memory()
    step(), step()
    kept = step()
    freed = torch.ones(2**26)
    del freed
    held = resident()
after = resident()
large = torch.ones(189_000_000)  # 721 MiB, more than what was kept in one piece
full = resident()
del large
print(plain, kept, (held - after) >> 20, (full - resident()) >> 20)
'''


@pytest.mark.skipif(sys.platform != 'linux', reason='an option of glibc')
def test_kept_memory_is_not_asked_for_again_and_goes_back_after_a_call():
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', FAULTS], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, check=True)
    plain, kept, freed, later = map(int, done.stdout.splitlines()[-1].split())
    assert plain > 100 and kept < plain / 10
    assert freed > 200 and later > 700  # MiB, of 256 and 721


@pytest.mark.parametrize('faster', [True, False])
def test_the_hook_swaps_linear_layers_within_steps_where_that_is_faster(monkeypatch, faster):
    monkeypatch.setattr(cpu, 'onednn_is_faster', lambda: faster)
    hook = CPUHook()
    assert F.linear is cpu.plain_linear
    hook.before_train_iter(None, 0)
    assert F.linear is (linear if faster else cpu.plain_linear)
    hook.after_train_iter(None, 0)
    assert F.linear is cpu.plain_linear


def test_models_hold_plain_layers(onednn):
    for model in (build_wamim(), MaskedViT(arch='deit-tiny'), SparseSwin(arch='tiny')):
        assert {type(m) for m in model.modules() if isinstance(m, nn.Linear)} <= {nn.Linear,
                                                                                  MMCVLinear}
    build_wamim().loss(noise(64, 3, 64, 64))
    assert not onednn


@pytest.mark.parametrize('gpu', [True, False])
def test_runs_without_a_gpu_have_the_hook(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: int(gpu))
    cfg = Config.fromfile(ROOT / 'configs/baselines/mae_vit_b_1600e.py')
    settle_processes(cfg, 'none')
    assert (dict(type='mmwamim.CPUHook') in cfg.custom_hooks) is not gpu
    assert any(hook['type'] == 'mmwamim.RunSummaryHook' for hook in cfg.custom_hooks)


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
    try:
        found = gradients(linear, x, weight, bias)
    finally:
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
    layer = nn.Linear(96, 40)
    with fast_linear():
        program = torch.export.export(layer, (x,))
        traced = torch.jit.trace(layer, x, check_trace=False)
        explained = torch._dynamo.explain(layer)(x)
    assert any('linear' in str(node.target) for node in program.graph.nodes)
    assert 'aten::linear' in str(traced.inlined_graph)
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


def test_inside_it_every_linear_layer_is_the_fast_one(onednn):
    x = noise(16, 50, 96)
    for layer in (nn.Linear(96, 40), MMCVLinear(96, 40)):
        expected = layer(x)
        with fast_linear():
            torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(layer(x), expected)
        with fast_linear(False):
            assert torch.equal(layer(x), expected)
    assert len(onednn) == 2


def test_a_step_is_the_same(onednn):
    model, found = build_wamim(), []
    for fast in (False, True):
        torch.manual_seed(1)
        with fast_linear(fast):
            losses = level_losses(model.loss(noise(16, 3, 64, 64)))
        sum(losses).backward()
        found.append((losses, [p.grad for p in model.parameters() if p.grad is not None]))
        model.zero_grad(set_to_none=True)
    assert len(onednn) > 5
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
