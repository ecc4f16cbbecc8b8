"""What a step draws depends on seed, step and process, on whatever device it is drawn."""
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import MODELS, init_default_scope

from mmwamim.datasets.sampling import mix_seed, seed_everything
from tests.support.commands import ROOT
from tests.support.models import noise

# A baseline that draws its masks on the device of the images, and ours with drop path, which does.
CHANGES = {
    'configs/evidence/mae.py': {},
    'configs/evidence/wamim.py': {'model.backbone.drop_path_rate': 0.3},
    'configs/evidence/swin/swin_wamim.py': {'model.backbone.drop_path_rate': 0.3},
}


@pytest.mark.parametrize('config', list(CHANGES))
def test_a_step_draws_the_same_whatever_was_drawn_before(config):
    init_default_scope('mmpretrain')
    MessageHub.get_current_instance().update_info('max_iters', 100)
    cfg = Config.fromfile(ROOT / config)
    cfg.merge_from_dict(CHANGES[config])
    model = MODELS.build(cfg.model).train()
    images = noise(4, 3, 32, 32)

    def losses(step):
        seed_everything(7, step, 0)
        found = model.loss(images, None)
        return torch.stack([value.detach() for name, value in found.items() if 'loss' in name])

    first, second = losses(0), losses(1)
    assert not torch.equal(first, second)
    torch.rand(100)
    assert torch.equal(losses(1), second)  # as after a resumption before this step
    assert torch.equal(losses(0), first)


def test_the_generator_of_a_gpu_that_is_in_use_is_seeded(monkeypatch):
    seeds = []
    monkeypatch.setattr(torch.cuda, 'manual_seed', seeds.append)
    seed_everything(7, 3, 0)
    assert not seeds  # workers of a loader, and runs on the CPU
    monkeypatch.setattr(torch.cuda, 'is_initialized', lambda: True)
    seed_everything(7, 3, 0)
    seed_everything(7, 4, 0)
    assert seeds == [mix_seed(7, 3, 0), mix_seed(7, 4, 0)]
