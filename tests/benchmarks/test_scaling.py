"""The model of scaling on cases computed by hand."""
import pytest

from mmwamim.benchmarks import scaling
from mmwamim.commands.main import call
from mmwamim.errors import UserError
from tests.support.commands import run_here

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
    code, log = run_here('tools/benchmark/scaling.py', '--images-per-second', 1000, '--config',
                         'configs/quickstart/vit_tiny_pretrain.py')
    assert code == 0 and '| 256 | 256 | FSDP |' in log
    assert '| 1 | 256 | DDP | 1,000 | 100.0 %' in log
    with pytest.raises(UserError, match='--images-per-second is what'):
        call(scaling, [])


def test_what_is_expected_of_two_processes_by_hand():
    found = {'two processes, silent': 2., 'all-reduce': 0.5, 'all-gather': 0.25,
             'reduce-scatter': 0.125, 'optimizer': 0.2, 'optimizer of half': 0.1}
    assert scaling.expected(found) == pytest.approx(dict(DDP=2.5, FSDP=2 + 0.5 + 0.125 - 0.1))
