"""The configs of the comparisons: each steps, and what is compared has the same encoder."""
import pytest
import torch
from mmengine.config import Config

from mmwamim.engine.training.measure import build_step
from tests.support.commands import ROOT

FOLDER = ROOT / 'configs/evidence/imagenette'
PRETRAINING = sorted(
    path for path in FOLDER.rglob('*.py') if path.parent.name != 'finetuning')


@pytest.mark.parametrize('path', PRETRAINING, ids=lambda path: path.stem)
def test_each_config_steps(path):
    step = build_step(Config.fromfile(path), 2)
    loss = step.forward()
    assert torch.isfinite(loss) and loss > 0
    loss.backward()
    idle = [name for name, p in step.model.named_parameters() if p.requires_grad and p.grad is None]
    # the norms of layers that are there for probing alone, and what MAE's decoder leaves out
    assert all('backbone.ln' in name or 'backbone.norm' in name for name in idle), idle


@pytest.mark.parametrize('folder, mask_token', [('.', 0), ('swin', 32)])
def test_encoders_of_a_comparison_are_the_same(folder, mask_token):
    """But for SimMIM's mask token, and norms of stages that only probing reads."""
    shapes = {}
    for path in sorted((FOLDER / folder).glob('*.py')):
        model = build_step(Config.fromfile(path), 2).model
        shapes[path.stem] = sorted(
            tuple(p.shape) for name, p in model.backbone.named_parameters()
            if 'mask_token' not in name and 'norm' not in name and 'ln' not in name)
    reference = shapes.pop('wamim' if folder == '.' else 'swin_wamim')
    assert len(shapes) >= 2
    for name, those in shapes.items():
        assert those == reference, name
