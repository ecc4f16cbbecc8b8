"""Mixup and CutMix of fine-tuning: what they mix, and that they do it on the device."""
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample

from tests.support.commands import ROOT
from tests.support.pretended_gpu import PretendedGPU

CONFIGS = ('vit_b_ft_100e', 'vit_s_ft_200e', 'swin_b_ft_100e')
IMAGES = 6


def preprocessor(name, kind):
    """The config's, which applies one of its batch augmentations."""
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(ROOT / f'configs/classification/{name}.py')
    augments = [one for one in cfg.model.train_cfg.augments if one.type.endswith(kind)]
    assert len(augments) == 1
    return MODELS.build(dict(cfg.data_preprocessor, num_classes=IMAGES,
                             batch_augments=dict(augments=augments)))


def batch(inputs):
    return dict(inputs=inputs, data_samples=[DataSample().set_gt_label(i) for i in range(IMAGES)])


@pytest.mark.parametrize('name', CONFIGS)
@pytest.mark.parametrize('kind', ['Mixup', 'CutMix'])
def test_pixels_are_mixed_as_the_labels_say(name, kind):
    model = preprocessor(name, kind)
    images = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8)
    plain = model(batch(images), training=False)['inputs']
    found = model(batch(images), training=True)
    scores = torch.stack([sample.gt_score for sample in found['data_samples']])
    torch.testing.assert_close(scores.sum(1), torch.ones(IMAGES))
    mixed = 0
    for own, (score, pixels) in enumerate(zip(scores, found['inputs'])):
        partners = [other for other in range(IMAGES) if other != own and score[other] > 0]
        other = partners[0] if partners else own
        mixed += bool(partners)
        if kind == 'Mixup':
            share = score[own] if partners else 1.
            expected = share * plain[own] + (1 - share) * plain[other]
            torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-5)
        else:
            kept = (pixels == plain[own]).all(0)
            assert torch.equal(pixels[:, ~kept], plain[other][:, ~kept])
            assert kept.float().mean() == pytest.approx(float(score[own]), abs=0.01)
    assert mixed or kind == 'CutMix'  # a box of CutMix may be empty


@pytest.mark.parametrize('kind', ['Mixup', 'CutMix'])
def test_they_mix_on_the_device(kind):
    """Four copies to the device: images, labels, and for each of them who is mixed with whom."""
    images = torch.zeros(IMAGES, 3, 32, 32, dtype=torch.uint8)
    with PretendedGPU() as gpu:
        model = gpu.build(lambda: preprocessor(CONFIGS[0], kind))
        found = model(batch(images), training=True)
        assert found['inputs'].device.type == 'cuda'
        assert all(sample.gt_score.device.type == 'cuda' for sample in found['data_samples'])
        assert gpu.counts['uploads'] <= 4 and gpu.counts['read-backs'] == 0
