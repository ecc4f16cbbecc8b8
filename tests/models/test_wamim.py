import os
import subprocess
import sys
from pathlib import Path

import pytest
import skimage.data
import torch

import mmwamim
from mmwamim.errors import UserError
from mmwamim.models import WaMIM
from mmwamim.models.masking import MaskPlan, draw_mask
from mmwamim.registry import MODELS
from tests.support.models import LOSS_WEIGHTS, build_wamim, level_losses, noise, shake, total_loss
from tests.support.references import loop_decode, loop_encode, loop_loss, loop_targets

FORMS = [  # what is built, and the images it is given
    (dict(), (2, 3, 64, 64)),
    (dict(channels=1), (2, 1, 64, 64)),
    (dict(channels=4, shared_mask=True), (2, 4, 64, 64)),
    (dict(size=(160, 224), patch=16, levels=(2, 3, 4, 5)), (1, 3, 160, 224)),
    (dict(patch=8, levels=(2, 3, 4, 5), mask_unit=16), (2, 3, 64, 96)),
]


def build(**fields):
    model = build_wamim(**fields)
    model.init_weights()
    return shake(model, 0.05)


def fix_masks(model, masks):
    model.plan_mask = lambda images: MaskPlan.from_mask(masks)
    return model


@pytest.mark.parametrize('form, shape', FORMS)
def test_loss_and_gradients_equal_a_slow_composition(form, shape):
    model, images = build(**form), noise(*shape)
    mask = model.plan_mask(images).mask
    losses = fix_masks(model, mask).loss(images)

    levels = form.get('levels', (1, 2, 3, 4))
    assert [name for name in losses if 'loss' in name] == [f'loss_level{k}' for k in levels]
    features = loop_encode(model.backbone, images, mask)
    predictions = [loop_decode(decoder, tokens, mask, 2**level) for decoder, tokens, level in
                   zip(model.neck.levels, features, levels, strict=True)]
    targets = [torch.from_numpy(t).float() for t in loop_targets(images, levels=levels)]
    expected = loop_loss(predictions, targets, mask, LOSS_WEIGHTS)
    for ours, theirs in zip(level_losses(losses), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=0)

    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    ours = torch.autograd.grad(total_loss(losses), list(trained.values()))
    theirs = torch.autograd.grad(sum(expected), list(trained.values()))
    for name, mine, other in zip(trained, ours, theirs, strict=True):
        error = (mine - other).norm() / other.norm()
        assert error < 1e-4, name


@pytest.mark.parametrize('form, shape', FORMS)
def test_every_trained_parameter_gets_a_gradient(form, shape):
    model = build(**form)
    total_loss(model(noise(*shape), mode='loss')).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        else:
            assert parameter.grad is None, name


def test_predict_targets_are_what_the_loss_compares():
    model, images = build(), noise(2, 3, 64, 64)
    mask = model.plan_mask(images).mask
    predictions, targets, used = model.predict_targets(images, mask)
    assert used is mask
    assert not any(level.requires_grad for level in predictions + targets)
    expected = fix_masks(model, mask).loss(images)
    for name, loss in model.head(predictions, targets, mask).items():
        torch.testing.assert_close(loss, expected[name].detach(), rtol=1e-6, atol=0)
    assert torch.equal(model.predict_targets(images)[2], mask)  # drawn where none is given


def test_under_autocast_the_loss_is_float32():
    model, images = build(), noise(2, 3, 64, 64)
    fix_masks(model, model.plan_mask(images).mask)
    plain = total_loss(model.loss(images))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = model.loss(images)
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    total = total_loss(losses)
    assert total.item() == pytest.approx(plain.item(), rel=0.02)
    total.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_the_mask_has_a_fixed_number_of_visible_units_an_image():
    images = torch.zeros(5, 3, 64, 96)
    mask = build().plan_mask(images).mask
    assert mask.shape == (5, 8, 12) and mask.dtype == torch.bool
    assert (~mask).sum((1, 2)).tolist() == [24] * 5
    assert not torch.equal(mask[0], mask[1])
    assert build(shared_mask=True).plan_mask(images).mask.shape == (1, 8, 12)
    assert (~build(mask_ratio=0.6).plan_mask(images).mask).sum((1, 2)).tolist() == [38] * 5


def test_a_mask_of_larger_units_is_made_of_whole_units():
    mask = build(mask_unit=32).plan_mask(torch.zeros(3, 3, 128, 64)).mask
    assert mask.shape == (3, 16, 8)
    for image in mask:
        units = [image[4 * r:4 * r + 4, 4 * c:4 * c + 4] for r in range(4) for c in range(2)]
        assert all(unit.all() or not unit.any() for unit in units)
        assert sum(bool(unit.all()) for unit in units) == 6


def crops_of_photographs():
    """32 crops of 64 px, normalised, (32, 3, 64, 64)."""
    generator = torch.Generator().manual_seed(0)
    crops = []
    for name in ('astronaut', 'chelsea', 'coffee', 'rocket'):
        photo = torch.from_numpy(getattr(skimage.data, name)().copy()).permute(2, 0, 1)
        for _ in range(8):
            y, x = (int(torch.randint(side - 64, (), generator=generator))
                    for side in photo.shape[1:])
            crops.append(photo[:, y:y + 64, x:x + 64])
    return torch.stack(crops).float().sub(120).div(60)


def test_loss_falls_on_photographs():
    model, photographs = build_wamim(), crops_of_photographs()
    model.init_weights()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    history = []
    for step in range(50):
        batch = photographs[step % 4::4]
        loss = total_loss(model(batch, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    _, targets, _ = model.predict_targets(photographs)
    of_zeros = sum(w * t.square().mean() for w, t in zip(LOSS_WEIGHTS, targets, strict=True))
    last = sum(history[-5:]) / 5
    assert last < 0.85 * sum(history[:5]) / 5
    assert last < 0.95 * of_zeros  # better than predicting the mean


@pytest.mark.parametrize('fields, message', [
    (dict(mask_ratio=1.), 'mask_ratio'),
    (dict(mask_ratio=0), 'mask_ratio'),
    (dict(mask_ratio=-0.5), 'mask_ratio'),
    (dict(mask_unit=12), 'mask_unit 12 must be a multiple of the 8 px'),
    (dict(mask_unit=4), 'mask_unit 4 must be a multiple of the 8 px'),
    (dict(mask_unit=-8), 'mask_unit -8 must be a multiple of the 8 px'),
    (dict(mask_unit='16'), "mask_unit '16' must be a multiple of the 8 px"),
    (dict(mask_ratio='0.75'), "mask_ratio must lie between .*, not '0.75'"),
    (dict(decode_ratio='half'), "decode_ratio is a share .*, not 'half'"),
    (dict(predict_ratio='0.2'), "predict_ratio is a share .*, not '0.2'"),
    (dict(levels=(2, 3, 4)), r'4 levels \(its out_indices\) but the target has 3'),
    (dict(backbone=dict(out_indices=(1, 3))), r'2 levels \(its out_indices\) but .* 4'),
    (dict(head=dict(loss_weights=(1., 1.))), 'loss_weights has 2 entries but there are 4'),
])
def test_parts_that_do_not_fit_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        build_wamim(**fields)


@pytest.mark.parametrize('fields, name', [
    (dict(mask_ration=0.5), 'mask_ration'), (dict(neck=dict(embed_dim=32)), 'embed_dim'),
    (dict(head=dict(loss_weight=1.)), 'loss_weight'), (dict(target=dict(level=3)), 'level'),
    (dict(backbone=dict(drop_path=0.1)), 'drop_path'),
])
def test_a_misspelt_field_is_named(fields, name):
    with pytest.raises(TypeError, match=f"argument '{name}'"):
        build_wamim(**fields)


class OwnNeck(torch.nn.Module):
    def __init__(self, in_channels, feature_strides, out_channels, target_strides, mask_unit,
                 num_extra_tokens):
        super().__init__()
        self.out_channels = out_channels


def test_a_neck_of_ones_own_need_not_know_the_size_of_images():
    model = build_wamim()
    own = WaMIM(backbone=model.backbone, neck=dict(type=OwnNeck), target_generator=
                model.target_generator, head=dict(type='mmwamim.MultiLevelMIMHead',
                                                  loss_weights=LOSS_WEIGHTS))
    assert own.neck.out_channels == model.target_generator.channels


def test_image_sizes_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match='72x64 must be divisible by mask_unit = 16'):
        build(mask_unit=16).loss(torch.zeros(1, 3, 72, 64))
    with pytest.raises(ValueError, match='divisible by 32'):
        build(levels=(2, 3, 4, 5)).loss(torch.zeros(1, 3, 72, 64))
    with pytest.raises(ValueError, match='in_channels = 3'):
        model = build(backbone=dict(in_channels=1))
        model.loss(torch.zeros(1, 1, 64, 64))


def test_parts_may_be_given_built_and_are_found_by_name():
    given = build_wamim()
    model = WaMIM(given.backbone, given.neck, given.head, given.target_generator)
    assert model.backbone is given.backbone
    assert type(MODELS.get('mmwamim.WaMIM')) is type(WaMIM)


def gradients(model, images, masks):
    model.zero_grad()
    total_loss(fix_masks(model, masks).loss(images)).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


def batch_of_four():
    torch.manual_seed(5)
    return noise(4, 3, 64, 64), draw_mask(4, (8, 8), 0.75)


ONE_OF_TWO_PROCESSES = '''
import sys
import torch.distributed as dist
from torch import save
from torch.nn.parallel import DistributedDataParallel
from tests.support.models import total_loss
from tests.models.test_wamim import batch_of_four, build, fix_masks

rank, store, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group('gloo', init_method='file://' + store, rank=rank, world_size=2)
model = build()
images, masks = batch_of_four()
half = slice(2 * rank, 2 * rank + 2)
parallel = DistributedDataParallel(fix_masks(model, masks[half]))
for _ in range(2):  # a parameter without gradient is noticed on the second step
    model.zero_grad()
    total_loss(parallel(images[half], mode='loss')).backward()
if rank == 0:
    save({name: p.grad for name, p in model.named_parameters() if p.requires_grad}, out)
dist.barrier()
dist.destroy_process_group()
'''


def test_two_processes_average_to_the_gradient_of_the_joint_batch(tmp_path):
    root = str(Path(mmwamim.__file__).resolve().parents[1])
    environment = {**os.environ, 'PYTHONPATH': root, 'OMP_NUM_THREADS': '1'}
    arguments = [str(tmp_path / 'store'), str(tmp_path / 'gradients.pth')]
    processes = [subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', ONE_OF_TWO_PROCESSES, str(rank), *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in range(2)]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=240)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()
    averaged = torch.load(arguments[1])
    expected = gradients(build(), *batch_of_four())
    assert averaged.keys() == expected.keys()
    for name, value in expected.items():
        error = (averaged[name] - value).norm() / value.norm()
        assert error < 1e-4, name


@pytest.mark.parametrize('fields, message', [
    (dict(levels=(4, 5, 6, 7)), 'its coarsest cells are 128 pixels wide, .* 64'),
    (dict(neck=dict(embed_dims=0)), 'embed_dims must be a multiple of 4, not 0')])
def test_sizes_that_cannot_be_are_told_before_the_first_step(fields, message):
    with pytest.raises(ValueError, match=message):
        build_wamim(**fields)
