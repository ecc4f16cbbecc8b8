from types import SimpleNamespace

from mmengine.logging import HistoryBuffer

from mmwamim.engine import DataWaitHook


def warnings_of(waits, share=0.2, interval=4):
    """What is logged where each step takes a second, of which the given part is waiting."""
    said, hook = [], DataWaitHook(share, interval)
    data_time, time = HistoryBuffer(), HistoryBuffer()
    runner = SimpleNamespace(
        message_hub=SimpleNamespace(log_scalars={'train/data_time': data_time, 'train/time': time}),
        logger=SimpleNamespace(warning=said.append),
        train_dataloader=SimpleNamespace(num_workers=3))
    for step, wait in enumerate(waits):
        runner.iter = step
        data_time.update(wait)
        time.update(1.)
        hook.after_train_iter(runner, batch_idx=step, data_batch=None, outputs=None)
    return said


def test_waiting_for_data_is_said_once_with_the_setting():
    assert warnings_of([0.1] * 12) == []
    assert warnings_of([0.9] + [0.1] * 7) == []  # the first step starts the workers
    said = warnings_of([0.1] * 4 + [0.5] * 8)
    assert len(said) == 1
    assert said[0].startswith('50% of the last 4 steps') and 'num_workers (now 3)' in said[0]
