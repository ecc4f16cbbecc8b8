import numpy as np
import pytest
import torch
from PIL import Image

from mmwamim.models.finite import NonFiniteLoss, check_finite
from tests.support.commands import QUICK, ROOT
from tests.support.processes import train_in_ranks


def test_the_bad_levels_are_named():
    fine = dict(loss_level2=torch.tensor(1.), loss_level3=torch.tensor(2.))
    check_finite(fine)
    with pytest.raises(NonFiniteLoss, match='^loss_level3 is nan$'):
        check_finite({**fine, 'loss_level3': torch.tensor(torch.nan)})
    with pytest.raises(NonFiniteLoss, match='loss_level2 is inf, loss_level3 is -inf'):
        check_finite(dict(loss_level2=torch.tensor(torch.inf),
                          loss_level3=torch.tensor(-torch.inf)))


SPOILT = '''
_base_ = ['{base}']
custom_imports = dict(imports=['spoilt_target'])
model = dict(target_generator=dict(type='SpoiltTarget'))
'''
# On process 1 alone, at the third and the fifth step, level 2 of the target is not a number.
TARGET = '''
from mmengine.dist import get_rank
from mmpretrain.registry import MODELS
from mmwamim.models import WaveletTargetGenerator

@MODELS.register_module()
class SpoiltTarget(WaveletTargetGenerator):
    step = 0

    def forward(self, images):
        targets = super().forward(images)
        self.step += 1
        if self.step in (3, 5) and get_rank() == 1:
            targets[1] = targets[1] * float('nan')
        return targets
'''


@pytest.mark.parametrize('allowed', [0, 1, 2])
def test_a_bad_step_stops_all_processes_or_is_skipped(tmp_path, allowed):
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    for number in range(24):
        Image.fromarray(rng.integers(0, 255, (80, 80, 3), dtype=np.uint8)).save(
            tmp_path / f'images/{number:02d}.png')
    (tmp_path / 'spoilt_target.py').write_text(TARGET)
    (tmp_path / 'spoilt.py').write_text(SPOILT.format(base=ROOT / QUICK))
    code, log = train_in_ranks(tmp_path / 'spoilt.py', '--data', tmp_path / 'images', '--epochs', 2,
                               '--batch-size', 4, '--work-dir', tmp_path / 'w', '--cfg-options',
                               f'train_cfg.max_bad_steps={allowed}', PYTHONPATH=tmp_path)
    if allowed < 2:
        step, epoch = (3, 1) if allowed == 0 else (5, 2)
        assert code != 0
        assert f'step {step} (epoch {epoch}), process 1: loss_level2 is nan; learning rate' in log
        assert f'step {step} (epoch {epoch}), process 0: a loss on another process' in log
        assert f'{tmp_path}/images/' in log and 'last good checkpoint' in log
    else:
        assert code == 0, log[-3000:]
    state = torch.load(tmp_path / 'w/encoder.pth', weights_only=True)['state_dict'] \
        if allowed == 2 else {}
    assert all(value.isfinite().all() for value in state.values())
