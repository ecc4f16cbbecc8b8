import os

import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmwamim.engine.checkpoints import read_checkpoint


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker, )


def test_tensors_and_log_histories_are_read(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save(dict(state_dict=dict(w=torch.ones(2)), log=HistoryBuffer([1., 2.], [1, 1])), path)
    checkpoint = read_checkpoint(path)
    assert checkpoint['state_dict']['w'].tolist() == [1, 1]
    assert checkpoint['log'].mean() == 1.5


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    path, marker = tmp_path / 'x.pth', tmp_path / 'ran'
    torch.save(dict(state_dict={}, x=Malicious(str(marker))), path)
    with pytest.raises(ValueError, match='cannot be read'):
        read_checkpoint(path)
    assert not marker.exists()


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        read_checkpoint(tmp_path / 'nowhere.pth')
    torch.save([1], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match='no state_dict'):
        read_checkpoint(tmp_path / 'list.pth')
