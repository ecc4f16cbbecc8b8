"""What is settled for a user: each value against one worked out by hand."""
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS
from PIL import Image

from mmwamim.commands import automatic
from mmwamim.commands.architectures import architectures, configs_folder, find_config
from mmwamim.commands.finetune import STEPS as TUNING
from mmwamim.datasets.sources import open_source
from mmwamim.errors import UserError
from mmwamim.machine.memory import free_memory, saved_for_backward
from tests.support.commands import ROOT

MIB = 2**20


@pytest.fixture
def recipe():
    return Config.fromfile(ROOT / 'configs/wamim/vit_tiny_100e.py')


def on_a_gpu(monkeypatch, memory):
    monkeypatch.setattr(automatic, 'best_device', lambda: 'cuda')
    monkeypatch.setattr(torch.cuda, 'get_device_properties',
                        lambda number: SimpleNamespace(total_memory=memory))


@pytest.mark.parametrize('memory, images, processes, batch, why', [
    # half of 10 GiB less 1 GiB fixed: 40 images of 100 MiB, so 32
    (10, 100_000, 1, 32, 'fits half of the memory'),
    (80, 1_000_000, 1, 256, 'as in the recipe'),  # 390 would fit
    (80, 1000, 1, 32, '31 steps per epoch'),  # 16 steps of 62 at least, rounded down
    (80, 1000, 2, 16, '31 steps per epoch'),
    (80, 5, 1, 5, '1 step per epoch'),
    (2, 100_000, 1, 1, 'fits half of the memory')])  # nothing fits: the smallest is tried
def test_the_batch_by_memory_and_by_the_size_of_the_set(memory, images, processes, batch, why,
                                                       monkeypatch):
    on_a_gpu(monkeypatch, memory * 2**30)
    choice = automatic.choose_batch((100 * MIB, 2**30), images, processes)
    assert choice.value == batch and why in choice.reason
    assert choice.fields == {'train_dataloader.batch_size': batch}


def test_a_cpu_takes_small_steps(monkeypatch):
    monkeypatch.setattr(automatic, 'free_memory', lambda: 2**40)
    assert automatic.choose_batch((MIB, 0), 10**6).value == 64


def test_what_a_forward_pass_keeps_is_counted():
    first, second = torch.nn.Linear(4, 8), torch.nn.Linear(8, 3, bias=False)
    images = torch.randn(2, 4, requires_grad=True)
    # float32: the input (2, 4) and the result of relu (2, 8), which the second layer keeps, too.
    assert saved_for_backward(lambda: second(F.relu(first(images))).sum(),
                              torch.nn.ModuleList([first, second])) == 4 * (2 * 4 + 2 * 8)
    # Once for a product that keeps the same tensor twice.
    assert saved_for_backward(lambda: (images * images).sum(), first) == 4 * 2 * 4


def test_memory_is_that_of_the_container_where_it_is_less(tmp_path):
    (tmp_path / 'meminfo').write_text('MemTotal: 99 kB\nMemAvailable:   5000 kB\n')
    (tmp_path / 'member').write_text('0::/job/step\n')
    group = tmp_path / 'cgroup/job'
    group.mkdir(parents=True)

    def free():
        return free_memory(tmp_path / 'meminfo', tmp_path / 'cgroup', tmp_path / 'member')

    assert free() == 5000 * 1024
    for name, text in (('memory.max', 3000), ('memory.current', 1000),
                       ('memory.stat', 'anon 500\ninactive_file 400')):
        (group / name).write_text(f'{text}\n')
    assert free() == 3000 - 1000 + 400  # files that were read are given up
    (group / 'memory.max').write_text('max\n')
    assert free() == 5000 * 1024


@pytest.mark.parametrize('device, steps, epochs', [
    ('cuda', 626, 100),  # ImageNet at 2048: 62,600 steps, as in the recipe
    ('cuda', 50, 400),  # 20,000 steps
    ('cuda', 5, 1600),  # at most
    ('cpu', 18, 56), ('cpu', 5000, 1)])  # 1,000 steps, a first look
def test_epochs_by_the_size_of_the_set(device, steps, epochs, recipe, monkeypatch):
    monkeypatch.setattr(automatic, 'best_device', lambda: device)
    assert automatic.choose_epochs(recipe, steps).value == epochs
    assert automatic.choose_epochs(recipe, 30, TUNING).value == dict(cuda=167, cpu=10)[device]


def test_the_learning_rate_of_smaller_batches(recipe):
    assert recipe.optim_wrapper.optimizer.lr == pytest.approx(1.6e-3)
    choice = automatic.choose_rate(recipe, 512, 20_000)
    assert choice.value == pytest.approx(0.8e-3) and choice.fields == {
        'optim_wrapper.optimizer.lr': 0.8e-3, 'auto_scale_lr.enable': False}
    assert automatic.choose_rate(recipe, 2048) is None  # MMEngine's own scaling does that
    assert automatic.choose_rate(recipe, 64, 1000).value == 1e-3
    assert automatic.choose_rate(recipe, 1024, 1000).value == pytest.approx(1.13e-3)
    assert automatic.choose_rate(recipe, 8, 1000).value == pytest.approx(5e-4)
    recipe.auto_scale_lr.enable = False
    assert automatic.choose_rate(recipe, 64) is None


@pytest.mark.parametrize('sizes, side', [
    ([(640, 480)] * 3, 224), ([(200, 168)], 224), ([(160, 100)], 96), ([(64, 64)], 64),
    ([(28, 28)], 32), ([(500, 500), (32, 40), (30, 99)], 32)])
def test_the_image_size_by_the_images(sizes, side, tmp_path, recipe):
    for number, size in enumerate(sizes):
        Image.new('RGB', size).save(tmp_path / f'{number}.png')
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    choice = automatic.choose_size(recipe, open_source(str(tmp_path)))
    assert choice.value == side
    # What it changes is a model whose targets are 4, 2, 1 and 0.5 times as fine as its tokens.
    recipe.merge_from_dict(choice.fields)
    model = MODELS.build(recipe.model)
    grid = side // model.backbone.patch_embed.projection.stride[0]
    assert model.backbone.img_size == (side, side) and 7 <= grid <= 14
    assert recipe.train_dataloader.dataset.pipeline[1].size == side
    scale = 2 if side == 32 else 1  # patches of 4 pixels cannot be taken apart any further
    assert [side // stride for stride in model.target_generator.grid_strides] == [
        grid * factor // (2 * scale) for factor in (8, 4, 2, 1)]


def test_recipes_of_other_kinds_keep_their_size(tmp_path):
    Image.new('RGB', (64, 64)).save(tmp_path / 'x.png')
    for name in ('swin_b', 'mae_vit_b_1600e', 'swin_b_fast'):
        cfg = Config.fromfile(find_config(name))
        assert automatic.choose_size(cfg, open_source(str(tmp_path))) is None


@pytest.mark.parametrize('side, sizes', [
    (448, (256, 320, 384, 448)), (96, (64, 80, 96, 96)), (64, (48, 48, 64, 64)),
    (32, (32, 32, 32, 32))])
def test_images_that_grow_do_so_in_proportion(side, sizes):
    cfg = Config.fromfile(find_config('vit_s_fast'))
    cfg.merge_from_dict(automatic.resize(cfg, side))
    hook = HOOKS.build(cfg.default_hooks.resolution)
    assert hook.sizes == sizes
    hook._check(MODELS.build(cfg.model), side)  # they fit the model


def test_workers_by_the_cores(recipe, monkeypatch):
    monkeypatch.setattr(automatic, 'granted_cores', lambda: 12)
    assert automatic.choose_workers(recipe).value == 4  # the CPU trains
    monkeypatch.setattr(automatic, 'best_device', lambda: 'cuda')
    assert automatic.choose_workers(recipe).value == 8  # as in the recipe
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '4')
    assert automatic.choose_workers(recipe).value == 3
    monkeypatch.setattr(automatic, 'granted_cores', lambda: 1)
    assert automatic.choose_workers(recipe).value == 1


def test_architectures_are_the_configs_of_the_tree_or_the_wheel(tmp_path, monkeypatch):
    from mmwamim.commands import architectures as module
    assert {name: path.name for name, path in architectures().items()} == dict(
        vit_tiny='vit_tiny_100e.py', vit_s='vit_s_100e.py', vit_b='vit_b_100e.py',
        swin_b='swin_b_100e.py')
    assert find_config('vit_b_400e').name == 'vit_b_400e.py'
    assert find_config('mae_vit_b_ft_100e', 'classification').parent.name == 'classification'
    monkeypatch.chdir(tmp_path)  # a path of the package works anywhere
    assert find_config('configs/wamim/vit_s_300e.py').is_file()
    for name in ('vit', '../wamim/vit_s_100e', '*'):
        with pytest.raises(UserError, match='there is no encoder'):
            find_config(name)
    monkeypatch.setattr(module, 'PACKAGE', tmp_path / 'site-packages/mmwamim')
    assert configs_folder() == tmp_path / 'site-packages/mmwamim/.mim/configs'
