"""Positions in runs whose steps have another size, worked out by hand."""
import pytest

from mmwamim.engine.training.progress import Layout, Position, Progress, translate


def layout(images=100, batch=10, processes=1, steps=None, accumulation=1, counts='epochs'):
    return Layout(images, batch, processes, steps or images // (batch * processes), accumulation,
                  counts)


@pytest.mark.parametrize('position, pending, now, expected', [
    # As it was.
    (Position(3, 34), 0, layout(), Position(3, 34)),
    # 40 images of epoch 4 were seen, whoever saw them: 40 = 2 steps of 20, 8 of 5, 5 of 8, 3 of 15.
    (Position(3, 34), 0, layout(batch=20), Position(3, 17, 40, 2)),
    (Position(3, 34), 0, layout(batch=5), Position(3, 68, 40, 8)),
    (Position(3, 34), 0, layout(batch=4, processes=2), Position(3, 36 + 5, 40, 5)),
    (Position(3, 34), 0, layout(batch=15), Position(3, 18 + 3, 40, 3)),
    # The same share of an epoch of 250 images: 100 of them.
    (Position(3, 34), 0, layout(images=250), Position(3, 75 + 10, 100, 10)),
    # At the beginning and at the end of an epoch.
    (Position(3, 30), 0, layout(batch=20), Position(3, 15, 0, 0)),
    (Position(3, 40), 0, layout(batch=20), Position(3, 20, 100, 5)),
    # Two changes within an epoch: 30 images in steps of another size, then two steps of 10.
    (Position(3, 35, 30, 3), 0, layout(batch=25), Position(3, 12 + 2, 50, 2)),
    (Position(3, 35, 30, 3), 0, layout(), Position(3, 35, 30, 3)),
    # Steps since the last update are done again, if need be those of the epoch before.
    (Position(3, 34), 3, layout(), Position(3, 31)),
    (Position(3, 31), 3, layout(), Position(2, 28)),
])
def test_epochs(position, pending, now, expected):
    assert translate(Progress(layout(), position, pending), now) == expected


def test_steps():
    """The number of the step stays, and the stream goes on behind the images that were seen."""
    then = layout(counts='steps')
    assert translate(Progress(then, Position(0, 34), 0), layout(batch=20, counts='steps')) == \
        Position(0, 34, 340, 34)
    twice = Progress(layout(batch=20, counts='steps'), Position(0, 40, 340, 34), 0)
    assert translate(twice, then) == Position(0, 40, 340 + 6 * 20, 40)


def test_a_checkpoint_that_does_not_tell_its_layout():
    now = layout()
    old = dict(meta=dict(epoch=3, iter=34), steps_per_epoch=10)
    assert translate(Progress.of_checkpoint(old, now), now) == Position(3, 34)
    old = dict(meta=dict(epoch=3, iter=70), steps_per_epoch=20)  # half of an epoch of 20 steps
    assert translate(Progress.of_checkpoint(old, now), now) == Position(3, 35, 50, 5)
    old = dict(meta=dict(epoch=1, iter=16), steps_per_epoch=10)
    assert translate(Progress.of_checkpoint(old, now), now) == Position(1, 16)
    old = dict(meta=dict(epoch=3, iter=60))  # MMEngine's own, at the end of an epoch
    assert translate(Progress.of_checkpoint(old, now), now) == Position(3, 30)
