"""Images that grow over the epochs: what the loader crops, what the model gets, what is resumed."""
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from mmwamim.datasets import RandomCropToTensor
from mmwamim.engine import ResolutionScheduleHook
from mmwamim.errors import UserError
from mmwamim.models import SparseSwin
from tests.engine.test_compile import build_swin
from tests.engine.training.test_resume_exactly import check
from tests.support.models import build_wamim
from tests.support.runs import GROWING, PRETRAIN, Recorder, prepare, record
from tests.support.small_data import make_images

HOOK = 'default_hooks.resolution'
SHORT = [f'{HOOK}.sizes=(32,48,96)', f'{HOOK}.until=(0.5,0.75,1)']  # 2, 1 and 1 of 4 epochs


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp('images'), 12, 80)


@pytest.mark.parametrize('until, epochs, sizes', [
    (None, 6, [128, 128, 160, 160, 224, 224]), ((0.5, 0.8, 1), 5, [128, 128, 160, 160, 224]),
    ((0.5, 0.9, 1), 1, [224]), ((0.2, 0.9, 1), 3, [128, 160, 224])])
def test_sizes_of_a_run(until, epochs, sizes):
    hook = ResolutionScheduleHook((128, 160, 224), until)
    assert [hook.size_at(epoch, epochs) for epoch in range(epochs)] == sizes


def test_shares_that_add_up_to_one_but_for_rounding():
    until = np.cumsum((0.4, 0.3, 0.2, 0.1))
    assert until[-1] != 1
    assert ResolutionScheduleHook((32, 48, 64, 96), until).phases(10) == [
        (0, 32), (4, 48), (7, 64), (9, 96)]


def test_a_crop_of_an_epoch_is_that_of_a_transform_of_its_size():
    image = np.random.default_rng(0).integers(0, 255, (70, 60, 3), dtype=np.uint8)
    growing = RandomCropToTensor(48)
    growing.follow([(0, 16), (3, 32)])

    def crop(transform):
        random.seed(7)
        return transform.transform(dict(img=image))['inputs']

    assert torch.equal(crop(growing), crop(RandomCropToTensor(48)))  # the epoch is not known
    for epoch, size in ((0, 16), (2, 16), (3, 32), (9, 32)):
        growing.set_epoch(epoch)
        assert torch.equal(crop(growing), crop(RandomCropToTensor(size)))


class Shapes(Hook):
    """The sides of the images and of the mask's grid in every step."""

    def __init__(self, runner):
        self.found, plan_mask = [], runner.model.plan_mask

        def noting(images):
            plan = plan_mask(images)
            self.found.append((runner.epoch, tuple(images.shape[2:]), plan.grid))
            return plan
        runner.model.plan_mask = noting


@pytest.mark.parametrize('workers', [0, 2])
def test_workers_that_persist_crop_to_the_size_of_the_epoch(images, tmp_path, workers):
    runner = prepare(GROWING, images, tmp_path, '--epochs', 4, '--batch-size', 4, fields=[
        *SHORT, f'train_dataloader.num_workers={workers}',
        f'train_dataloader.persistent_workers={workers > 0}'])
    shapes, recorder = Shapes(runner), Recorder()
    runner.register_hook(recorder, 'LOW')
    runner.train()
    assert shapes.found == [(epoch, (size, size), (size // 8, size // 8)) for epoch, size in
                            ((0, 32), (1, 32), (2, 48), (3, 96)) for _ in range(3)]
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert all(f'From epoch {epoch} on: images of {size} x {size} pixels' in log
               for epoch, size in ((1, 32), (3, 48), (4, 96)))
    assert (tmp_path / 'encoder.pth').is_file()
    times = runner.message_hub.get_scalar('train/time').data[0]
    work = [grid[0] * grid[1] for _, _, grid in shapes.found]
    assert recorder.eta == pytest.approx([
        sum(times[:step]) / sum(work[:step]) * sum(work[step:]) for step in range(1, 13)])


@pytest.mark.parametrize('stop_after', [4, 6, 7])  # the size changes after 6 and 9 steps
def test_resumed_across_a_change_of_size_to_the_bit(images, tmp_path, stop_after):
    fields = [*SHORT, f'{HOOK}.rates=(0.5,0.25,1)', 'model.decode_ratio=0.25']
    check(GROWING, images, tmp_path, '--epochs', 4, '--batch-size', 4, stop_after=stop_after,
          last='epoch_4.pth', fields=fields)


def test_rates_follow_the_size(images, tmp_path):
    plain = record(GROWING, images, tmp_path / 'plain', '--epochs', 4, '--batch-size', 4,
                   fields=SHORT)
    scaled = record(GROWING, images, tmp_path / 'scaled', '--epochs', 4, '--batch-size', 4,
                    fields=[*SHORT, f'{HOOK}.rates=(0.5,0.25,1)'])
    factors = np.array(scaled.rates) / np.array(plain.rates)
    expected = np.repeat([0.5, 0.5, 0.25, 1], 3)[:, None]
    np.testing.assert_allclose(factors, np.broadcast_to(expected, factors.shape), rtol=1e-9)


@pytest.mark.parametrize('fields, message', [
    (dict(sizes=(64, 96), until=(1, )), 'until has 1 entries, but there are 2 sizes'),
    (dict(sizes=(64, 96), rates=(1, 2)), 'rates must lie above 0 and be at most 1'),
    (dict(sizes=(64, 96), until=(0.5, 0.9)), 'the last one 1'),
    (dict(sizes=(64, 96), until=(0.5, 0.5)), 'there|rising'),
    (dict(sizes=()), 'sizes must be pixels'),
    (dict(sizes=224), 'sizes must be a list, not 224'),
    (dict(sizes=(64.5, 96)), r'sizes must be pixels, .* not \(64.5, 96\)'),
    (dict(sizes=('64', 96)), 'sizes must be pixels'),
    (dict(sizes=(float('nan'), 96)), 'sizes must be pixels'),
    (dict(sizes=((64, 64, 3), (96, 96, 3))), 'sizes must be pixels, or pairs'),
    (dict(sizes=(64, 96), until=0.5), 'until must be a list, not 0.5'),
    (dict(sizes=(64, 96), until=('a', 1)), 'until must be rising shares'),
    (dict(sizes=(64, 96), rates=0.5), 'rates must be a list, not 0.5'),
    (dict(sizes=(64, 96), rates=('0.5', 1)), 'rates must lie above 0'),
])
def test_bad_fields_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        ResolutionScheduleHook(**fields)


@pytest.mark.parametrize('config, fields, message', [
    (GROWING, ['.sizes=(64,72,96)'], 'images of 72 pixels .* multiples of 16, such as 64'),
    (GROWING, ['.sizes=(32,48,64)'], r'last of sizes \(32, 48, 64\) must be that of the crop .*96'),
    (GROWING, ['.sizes=(64,32,96)', '.until=(0.5,0.9,1)'],
     'for images of 32 pixels model.mask_ratio 0.95 leaves none of the 16 units visible'),
    (PRETRAIN, ['.type=mmwamim.ResolutionScheduleHook', '.sizes=(32,64)'],
     'needs one mmwamim.RandomCropToTensor'),
])
def test_what_does_not_fit_the_run_is_told(images, tmp_path, config, fields, message):
    runner = prepare(config, images, tmp_path, '--epochs', 2, '--batch-size', 4,
                     fields=[*(HOOK + field for field in fields), 'model.mask_ratio=0.95'])
    with pytest.raises(UserError, match=message):
        runner.train()


def test_two_schedules_are_refused(images, tmp_path):
    runner = prepare(GROWING, images, tmp_path, '--epochs', 2, '--batch-size', 4)
    runner.register_hook(ResolutionScheduleHook((64, 96)))
    with pytest.raises(UserError, match='there twice'):
        runner.train()


def test_a_recipe_without_its_schedule(images, tmp_path):
    """``None`` takes a hook out of a config, as it does MMEngine's own."""
    runner = prepare(GROWING, images, tmp_path, '--epochs', 1, '--batch-size', 4,
                     fields=[f'{HOOK}=None', 'default_hooks.timer=None'])
    names = [type(hook).__name__ for hook in runner.hooks]
    assert 'ResolutionScheduleHook' not in names and 'IterTimerHook' not in names
    assert 'DeferredInfoHook' in names


def test_oblong_images_grow(images, tmp_path):
    size = 'train_dataloader.dataset.pipeline.1.size=(64,96)'
    runner = prepare(GROWING, images, tmp_path, '--epochs', 3, '--batch-size', 4, fields=[
        f'{HOOK}.sizes=((32,48),(64,96))', f'{HOOK}.until=(0.5,1)', size,
        'model.backbone.img_size=(64,96)'])
    shapes, recorder = Shapes(runner), Recorder()
    runner.register_hook(recorder, 'LOW')
    runner.train()
    assert shapes.found == [(epoch, size, (size[0] // 8, size[1] // 8)) for epoch, size in (
        (0, (32, 48)), (1, (32, 48)), (2, (64, 96))) for _ in range(3)]
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'image size    32 x 48 pixels, 64 x 96 pixels from epoch 3 on' in log
    assert 'From epoch 3 on: images of 64 x 96 pixels' in log


def test_a_square_crop_may_be_a_pair():
    crop = RandomCropToTensor([64, 64])
    ResolutionScheduleHook((32, 64))._check(build_wamim(), crop.size)
    with pytest.raises(UserError, match='in train_dataloader.dataset.pipeline, 64 x 96$'):
        ResolutionScheduleHook((32, 64))._check(build_wamim(), (64, 96))


def test_windows_that_do_not_fit_can_be_cut():
    model, arch = build_swin(), dict(embed_dims=16, depths=[2, 2], num_heads=[1, 2])
    with pytest.raises(UserError, match='of 32, such as 64, or with .*cut_windows=True of 8$'):
        ResolutionScheduleHook((48, 64))._check(model, 64)
    model.backbone = SparseSwin(arch, 64, window_size=4, out_indices=(0, 1), cut_windows=True)
    ResolutionScheduleHook((48, 64))._check(model, 64)
    with pytest.raises(UserError, match='multiples of 8, such as 48$'):
        ResolutionScheduleHook((44, 64))._check(model, 64)


def test_an_encoder_that_names_no_size_is_no_obstacle():
    model = build_wamim()
    model = SimpleNamespace(
        mask_unit=8, mask_ratio=0.75, backbone=SimpleNamespace(feature_strides=(8, )),
        target_generator=model.target_generator)
    ResolutionScheduleHook((32, 64))._check(model, 64)


def test_a_run_that_only_validates_has_no_schedule():
    ResolutionScheduleHook((32, 64)).before_run(SimpleNamespace(_train_loop=dict(max_epochs=3)))


def test_a_run_without_a_timer(images, tmp_path):
    runner = prepare(GROWING, images, tmp_path, '--epochs', 2, '--batch-size', 4,
                     fields=[*SHORT, 'default_hooks.timer=None'])
    runner.train()
    assert runner.iter == 6 and runner.message_hub.get_info('eta') is None
