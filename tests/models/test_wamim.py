import copy
import os
import subprocess
import sys
import textwrap

import pytest
import skimage.data
import torch

from mmwamim.models import WaMIM
from mmwamim.registry import MODELS

TINY = dict(embed_dims=32, num_layers=4, num_heads=2, feedforward_channels=64)


def config(size=64, patch=16, channels=3, levels=(2, 3, 4, 5), **other):
    return dict(
        type='mmwamim.WaMIM',
        backbone=dict(type='MaskedViT', arch=TINY, img_size=size, patch_size=patch,
                      in_channels=channels, out_indices=(0, 1, 2, 3)),
        neck=dict(type='MultiLevelDecoder', embed_dims=16, num_heads=2),
        target_generator=dict(type='WaveletTargetGenerator', levels=levels,
                              in_channels=channels),
        head=dict(type='MultiLevelMIMHead', loss_weights=(0.8, 0.9, 1.1, 1.2)),
        init_cfg=[dict(type='Xavier', layer='Linear', distribution='uniform')],
        **other)


def build(seed=0, **fields):
    torch.manual_seed(seed)
    model = MODELS.build(config(**fields))
    model.init_weights()
    return model


@pytest.mark.parametrize('fields, shape', [
    (dict(), (2, 3, 64, 64)), (dict(channels=1), (2, 1, 64, 64)),
    (dict(channels=4), (2, 4, 64, 64)), (dict(size=(160, 224)), (2, 3, 160, 224)),
    (dict(patch=8), (2, 3, 64, 64)), (dict(mask_unit=32), (2, 3, 128, 64)),
    (dict(shared_mask=True), (2, 3, 64, 64)),
])
def test_every_trained_weight_gets_a_gradient(fields, shape):
    model = build(**fields)
    losses = model(torch.randn(shape), mode='loss')
    assert list(losses) == ['loss_level2', 'loss_level3', 'loss_level4', 'loss_level5']
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_loss_is_the_composition_of_its_parts():
    model, images = build(), torch.randn(2, 3, 64, 64)
    torch.manual_seed(1)
    losses = model.loss(images)
    torch.manual_seed(1)
    mask = model.draw_mask(images)
    assert (~mask).sum(dim=(1, 2)).tolist() == [4, 4]
    features = model.backbone(images, mask)
    for i, (name, weight) in enumerate(zip(losses, (0.8, 0.9, 1.1, 1.2))):
        prediction = model.neck.levels[i](features[i], mask)
        target = model.target_generator(images)[i]
        share = mask.float()[:, None]
        share = torch.nn.functional.interpolate(share, target.shape[-2:], mode='area')
        error = ((prediction - target)**2).mean(1, keepdim=True)
        expected = weight * (error * share).sum() / share.sum()
        torch.testing.assert_close(losses[name], expected, rtol=1e-5, atol=0)


def test_bfloat16_networks_float32_loss():
    model, images = build(), torch.randn(2, 3, 64, 64)
    torch.manual_seed(1)
    plain = sum(model.loss(images).values())
    torch.manual_seed(1)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = model.loss(images)
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    assert sum(losses.values()).item() == pytest.approx(plain.item(), rel=0.02)


def test_mask_of_larger_units_is_made_of_whole_units():
    model = build(mask_unit=32, size=128)
    mask = model.draw_mask(torch.zeros(3, 3, 128, 128))
    assert mask.shape == (3, 8, 8)
    blocks = mask.float().unflatten(2, (4, 2)).unflatten(1, (4, 2)).mean(dim=(2, 4))
    assert set(blocks.flatten().tolist()) == {0., 1.}
    assert blocks.sum(dim=(1, 2)).tolist() == [12] * 3


def test_loss_falls_on_real_photographs():
    torch.manual_seed(0)
    photographs = [getattr(skimage.data, name)() for name in ('astronaut', 'chelsea', 'coffee',
                                                              'rocket')]
    crops = []
    for photo in photographs:
        for _ in range(8):
            y, x = (torch.randint(side - 64, ()).item() for side in photo.shape[:2])
            crops.append(torch.from_numpy(photo[y:y + 64, x:x + 64].copy()).permute(2, 0, 1))
    images = torch.stack(crops).float() / 64 - 2
    model = build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    history = []
    for _ in range(50):
        loss = sum(model.loss(images).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert sum(history[-5:]) < 0.8 * sum(history[:5])


@pytest.mark.parametrize('change, message', [
    (dict(mask_ratio=1.), 'mask_ratio'), (dict(mask_ratio=0), 'mask_ratio'),
    (dict(mask_unit=24), 'mask_unit 24 must be a multiple'),
    (dict(levels=(3, 4, 5)), 'out_indices.* but the target has 3'),
])
def test_parts_that_do_not_fit_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(config(**change))


def test_as_many_weights_as_levels():
    wrong = copy.deepcopy(config())
    wrong['head']['loss_weights'] = (1., 1.)
    with pytest.raises(ValueError, match='loss_weights has 2 entries but there are 4'):
        MODELS.build(wrong)


def test_image_size_must_divide():
    with pytest.raises(ValueError, match='divisible by mask_unit = 16'):
        build().loss(torch.zeros(1, 3, 72, 64))


def test_a_misspelt_field_is_named():
    with pytest.raises(TypeError, match='mask_ration'):
        WaMIM(**{k: v for k, v in config(mask_ration=0.5).items() if k != 'type'})


TWO_PROCESSES = '''
import sys, torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from tests.models.test_wamim import build
from mmwamim.models.masking import draw_mask

class FixedMasks(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
    def forward(self, images, masks):
        self.model.draw_mask = lambda _: masks
        return sum(self.model.loss(images).values())

rank = int(sys.argv[1])
dist.init_process_group('gloo', init_method='file://' + sys.argv[2], rank=rank, world_size=2)
model = build()
torch.manual_seed(5)
images, masks = torch.randn(4, 3, 64, 64), draw_mask(4, (4, 4), 0.75)
half = slice(2 * rank, 2 * rank + 2)
parallel = DistributedDataParallel(FixedMasks(model))
parallel(images[half], masks[half]).backward()
if rank == 0:
    single = build()
    FixedMasks(single)(images, masks).backward()
    for (name, a), b in zip(model.named_parameters(), single.parameters()):
        if a.requires_grad:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6, msg=name)
dist.barrier()
print('equal')
'''


def test_two_processes_average_to_the_gradient_of_the_joint_batch(tmp_path):
    environment = dict(os.environ, PYTHONPATH=os.getcwd(), OMP_NUM_THREADS='1')
    processes = [subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(TWO_PROCESSES), str(rank), str(tmp_path / 'store')],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in range(2)]
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0 and 'equal' in output, output
