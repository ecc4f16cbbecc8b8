"""The model of scaling on cases computed by hand."""
import importlib.util
import sys

import pytest

from tests.support.commands import ROOT, run

spec = importlib.util.spec_from_file_location('scaling', ROOT / 'tools/benchmark/scaling.py')
scaling = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scaling)
BUCKET = 25 * 2**20


def test_collectives_by_hand():
    machine = scaling.Machine(per_node=8, node=100., network=10., latency=0.5)
    assert machine.seconds(1000., 1, 2) == 0
    # 1 trip: 3/4 of 1000 bytes at 100 a second, 2 hops; 2 trips: twice all of it.
    assert machine.seconds(1000., 4, 1) == pytest.approx(7.5 + 1)
    assert machine.seconds(1000., 4, 2) == pytest.approx(15 + 2)
    # Beyond a node the network is the slowest link: 15/16 of 1000 at 10 a second, 4 hops.
    assert machine.seconds(1000., 16, 1) == pytest.approx(93.75 + 2)


def test_what_is_not_hidden_by_hand():
    machine = scaling.Machine(per_node=8, node=float(BUCKET), network=1., latency=0.)
    size = 4. * BUCKET  # 4 buckets; between 2 processes each takes 1 s to reduce, 0.5 s to gather
    assert scaling.exposed('DDP', 0., size, 2, machine) == pytest.approx(4)
    assert scaling.exposed('DDP', 3., size, 2, machine) == pytest.approx(2)
    assert scaling.exposed('DDP', 99., size, 2, machine) == pytest.approx(1)
    assert scaling.exposed('FSDP', 0., size, 2, machine) == pytest.approx(6)
    assert scaling.exposed('FSDP', 4., size, 2, machine) == pytest.approx(2)
    assert scaling.exposed('FSDP', 99., size, 2, machine) == pytest.approx(0.5)
    assert scaling.exposed('DDP', 1., size, 1, machine) == 0


def test_the_command():
    command = (sys.executable, 'tools/benchmark/scaling.py')
    code, log = run(*command, '--images-per-second', 1000, '--config',
                    'configs/quickstart/vit_tiny_pretrain.py')
    assert code == 0 and '| 256 | 256 | FSDP |' in log
    assert '| 1 | 256 | DDP | 1,000 | 100.0 %' in log
    code, log = run(*command)
    assert code != 0 and log.splitlines()[-1].startswith('error: --images-per-second is what')
