"""What PyTorch does to functions: compile, map, differentiate, trace without values."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves

import mmwamim
from mmwamim.wavelets import (
    axis,
    iswt2,
    iwavelet_packet2,
    swt2,
    wavedec2,
    wavedecn,
    wavelet_packet2,
    waverec2,
    waverecn,
)
from tests.support.pretended_gpu import PretendedGPU

CALLS = {
    'symmetric': lambda t: waverec2(wavedec2(t, 'db2', 2, 'symmetric'), 'db2', 'symmetric'),
    'haar': lambda t: wavedec2(t, 'haar', 1),
    'packets': lambda t: wavelet_packet2(t, 'bior2.2', 1, 'reflect', 'freq'),
    'stationary': lambda t: iswt2(swt2(t, 'db2', 1), 'db2'),
    'volume': lambda t: waverecn(wavedecn(t, 'db2', 1, 'periodization'), 'db2', 'periodization'),
}


def noise(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def assert_same(ours, theirs):
    for a, b in zip(tree_leaves(ours), tree_leaves(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize('name', CALLS)
def test_one_graph(name):
    call, x = CALLS[name], noise(2, 6, 8)
    compiled = torch.compile(call, fullgraph=True, backend='aot_eager')
    assert_same(compiled(x), call(x))
    torch._dynamo.reset()


@pytest.mark.parametrize('order', ['natural', 'freq'])
def test_packets_are_traced_there_and_back(order, way):
    def call(t):
        return iwavelet_packet2(wavelet_packet2(t, 'db2', 1, order=order), 'db2', order=order)

    x = noise(2, 6, 8)
    traced = torch.jit.trace(call, x)
    assert_same(traced(2 * x), call(2 * x))


@pytest.mark.parametrize('name', CALLS)
def test_vmap(name, way):
    call, x = CALLS[name], noise(3, 2, 6, 8)
    assert_same(torch.func.vmap(call)(x), call(x))


@pytest.mark.parametrize('name', CALLS)
def test_gradients_inside_autocast_are_float32(name, way):
    def energy(t):
        return sum(band.square().sum() for band in tree_leaves(CALLS[name](t)))

    def mapped(t):
        return torch.func.vmap(energy)(t).sum()

    def twice(t):
        return torch.func.grad(energy)(t).square().sum()

    x = noise(2, 2, 6, 8)
    for function in (energy, mapped, twice):
        exact = torch.func.grad(function)(x.double())
        leaf = x.clone().requires_grad_()
        with torch.autocast('cpu', dtype=torch.bfloat16):
            function(leaf).backward()
            again = torch.func.grad(function)(x)
            tangent = torch.func.jvp(function, (x, ), (x, ))[1]
        for found in (leaf.grad, again):
            torch.testing.assert_close(found.double(), exact, rtol=0, atol=2e-6 * exact.abs().max())
        torch.testing.assert_close(tangent.double(), (exact * x).sum(), rtol=2e-6, atol=0)


@pytest.mark.parametrize('wavelet', ['haar', 'db2'])
@pytest.mark.parametrize('transform', [wavedec2, swt2, wavedecn])
def test_one_band_may_be_written_to(transform, wavelet, way):
    x = noise(2, 6, 8).requires_grad_()
    first, *others = tree_leaves(transform(x, wavelet, 1))
    before = [band.detach().clone() for band in others]
    energy = sum(band.square().sum() for band in others)  # keeps the others for its gradient
    first.zero_()
    (energy + first.sum()).backward()
    assert not first.any() and x.grad.any()
    assert all(torch.equal(band, old) for band, old in zip(others, before, strict=True))


def test_vmap_over_one_of_the_coefficients(way):
    bands = wavedec2(noise(6, 8), 'db2', 1)[0]
    many = torch.stack([bands.diagonal, 2 * bands.diagonal])
    mapped = torch.func.vmap(lambda d: waverec2([bands._replace(diagonal=d)], 'db2'))(many)
    for ours, diagonal in zip(mapped, many, strict=True):
        assert_same(ours, waverec2([bands._replace(diagonal=diagonal)], 'db2'))


@pytest.mark.parametrize('name', CALLS)
def test_fake_tensors_leave_nothing_behind(name):
    call, x = CALLS[name], noise(2, 10, 12)
    with FakeTensorMode():
        fakes = tree_leaves(call(torch.zeros(2, 10, 12)))
    real = tree_leaves(call(x))
    assert all(isinstance(fake, FakeTensor) for fake in fakes)
    assert [fake.shape for fake in fakes] == [t.shape for t in real]
    assert not any(isinstance(t, FakeTensor) for t in real)


@pytest.mark.parametrize('name', CALLS)
def test_nothing_is_uploaded_or_read_back(name):
    with PretendedGPU() as gpu:
        result = CALLS[name](torch.zeros(2, 6, 8, device='cuda'))
    assert all(t.device.type == 'cuda' for t in tree_leaves(result))
    assert gpu.counts['uploads'] == gpu.counts['read-backs'] == 0
    assert gpu.counts['kernels'] > 0


def test_matrices_are_made_once_and_serve_every_mode():
    axis._analysis_matrix.cache_clear()
    with torch.inference_mode():
        wavedec2(noise(14, 10), 'db3', 1)
    made = axis._analysis_matrix.cache_info().misses
    torch.func.grad(lambda t: wavedec2(t, 'db3', 1)[0].diagonal.square().sum())(noise(14, 10))
    x = noise(14, 10).requires_grad_()
    wavedec2(x, 'db3', 1)[0].diagonal.square().sum().backward()
    assert x.grad.isfinite().all() and made > 0
    assert axis._analysis_matrix.cache_info().misses == made


@pytest.mark.parametrize('device', ['cpu', 'meta'])
def test_matrices_keep_nothing_of_their_first_use(device):
    x = noise(2, 10, 12)

    def inside(t):
        return rebuilt(t).sum()

    def rebuilt(t):
        return waverec2(wavedec2(t, 'sym3', 2), 'sym3')

    def fake(t):
        with FakeTensorMode(allow_non_fake_inputs=True):
            return rebuilt(t)

    for first in (torch.func.grad(inside), torch.func.vmap(rebuilt), fake,
                  torch.inference_mode()(rebuilt), lambda t: torch.func.jvp(rebuilt, (t, ), (t, ))):
        axis._analysis_matrix.cache_clear()
        axis._synthesis_matrix.cache_clear()
        first(x.to(device))
        matrix = axis._analysis_matrix(axis.Step('sym3', 'zero'), 12, torch.float32,
                                       torch.device(device))
        assert type(matrix) is torch.Tensor and not matrix.is_inference()
        assert not torch._C._functorch.is_functorch_wrapped_tensor(matrix)
    assert_same(rebuilt(x), x)


def test_importing_wavelets_imports_no_openmmlab():
    code = ('import sys, mmwamim.wavelets\n'
            "print([name for name in ('mmengine', 'mmcv', 'mmpretrain') if name in sys.modules])")
    root = str(Path(mmwamim.__file__).resolve().parents[1])
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True,
                          text=True, env={**os.environ, 'PYTHONPATH': root})
    assert done.stdout == '[]\n', done.stderr
