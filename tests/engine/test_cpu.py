import subprocess
import sys
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from torch import nn

from mmwamim.engine import CPUHook, cpu, launch
from mmwamim.models.linear import Linear
from tests.tools.test_train import ROOT

FAULTS = '''
import resource, sys, torch
from mmwamim.engine.cpu import keep_memory
def step():
    tensors = [torch.ones(2**23) for _ in range(4)]  # 32 MiB each: larger than glibc ever keeps
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del tensors
    tensors = [torch.ones(2**23) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
plain = step()
assert keep_memory()
step(), step()
print(plain, step())
'''


@pytest.mark.skipif(sys.platform != 'linux', reason='an option of glibc')
def test_kept_memory_is_not_asked_for_again():
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', FAULTS], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, check=True)
    plain, kept = map(int, done.stdout.splitlines()[-1].split())
    assert plain > 100 and kept < plain / 10


@pytest.mark.parametrize('faster', [True, False])
def test_the_hook_swaps_layers_where_that_is_faster(monkeypatch, faster):
    monkeypatch.setattr(cpu, 'onednn_is_faster', lambda: faster)
    model = nn.Sequential(nn.Linear(4, 4), nn.GELU())
    CPUHook().before_train(SimpleNamespace(model=model))
    assert type(model[0]) is (Linear if faster else nn.Linear)


@pytest.mark.parametrize('gpu', [True, False])
def test_runs_without_a_gpu_have_the_hook(monkeypatch, gpu):
    monkeypatch.setattr(launch.torch.cuda, 'is_available', lambda: gpu)
    monkeypatch.setattr(launch.torch.cuda, 'device_count', lambda: int(gpu))
    cfg = Config.fromfile(ROOT / 'configs/baselines/mae_vit_b_1600e.py')
    launch.settle_processes(cfg, 'none')
    assert (dict(type='mmwamim.CPUHook') in cfg.custom_hooks) is not gpu
    assert any(hook['type'] == 'mmwamim.RunSummaryHook' for hook in cfg.custom_hooks)
