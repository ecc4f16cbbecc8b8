"""The scripts as users start them, in processes of their own, on small real photographs."""
import os
import shutil
import sys

import pytest
import skimage.data
import torch
from mmengine.config import Config
from mmpretrain.models import SwinTransformer, VisionTransformer
from PIL import Image

from mmwamim.registry import MODELS
from tests.support.commands import QUICK, ROOT, run, run_here
from tests.support.processes import train_in_ranks

# Those of configs/baselines step in tests/test_baselines.py.
CONFIGS = sorted(str(p.relative_to(ROOT)) for p in (ROOT / 'configs').glob('[!_]*/*.py')
                 if p.parent.name != 'baselines'
                 and Config.fromfile(p).model.type == 'mmwamim.WaMIM')


@pytest.fixture(scope='session')
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photographs')
    for i, name in enumerate(('astronaut', 'chelsea', 'coffee', 'rocket')):
        nested = folder / ('a' if i % 2 else 'a/b')
        nested.mkdir(parents=True, exist_ok=True)
        photo = Image.fromarray(getattr(skimage.data, name)())
        for k, suffix in enumerate(('jpg', 'JPEG', 'png')):
            photo.resize((160 + 8 * k, 120)).save(nested / f'{name}.{suffix}')
    return folder


@pytest.mark.parametrize('path', CONFIGS)
def test_every_config_builds_and_steps(path):
    cfg = Config.fromfile(ROOT / path)
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    model.init_weights()
    size = cfg.model.backbone.img_size
    batch = dict(inputs=torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8),
                 data_samples=None)
    losses = model(**model.data_preprocessor(batch), mode='loss')
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize('name', [
    'vit_tiny_fast', 'vit_s_fast', 'vit_b_fast', 'swin_b_fast', 'vit_b_growing'])
def test_fast_recipes_step_at_every_size(name):
    """With no more images than it takes; the last size is stepped at above."""
    cfg = Config.fromfile(ROOT / f'configs/wamim/{name}.py')
    model = MODELS.build(cfg.model)
    *early, last = cfg.default_hooks.resolution.sizes
    assert last == cfg.model.backbone.img_size == cfg.train_pipeline[1].size
    for size in early:
        with torch.no_grad():
            losses = model.loss(torch.randn(1, 3, size, size))
        assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize('name, epochs, warmup, width', [
    ('vit_s_100e', 100, 10, 384), ('vit_s_300e', 300, 30, 384), ('vit_b_100e', 100, 10, 768),
    ('vit_b_400e', 400, 40, 768), ('swin_b_100e', 100, 10, 128), ('swin_b_400e', 400, 40, 128),
    ('vit_tiny_fast', 100, 10, 192), ('vit_s_fast', 100, 10, 384), ('vit_b_fast', 100, 10, 768),
    ('swin_b_fast', 100, 10, 128)])
def test_recipes(name, epochs, warmup, width):
    cfg = Config.fromfile(ROOT / f'configs/wamim/{name}.py')
    optimizer = cfg.optim_wrapper.optimizer
    base = 1e-4 if 'swin' in name else 2e-4
    assert optimizer.lr == pytest.approx(base * 2048 / 256)
    assert tuple(optimizer.betas) == (0.9, 0.95) and optimizer.weight_decay == 0.05
    assert cfg.train_dataloader.batch_size * 8 == cfg.auto_scale_lr.base_batch_size == 2048
    linear, cosine = cfg.param_scheduler
    assert (cfg.train_cfg.max_epochs, linear.end, cosine.begin, cosine.end) == (
        epochs, warmup, warmup, epochs)
    assert cosine.T_max == epochs - warmup and cosine.eta_min == 0
    assert MODELS.build(cfg.model).backbone.embed_dims == width


def test_dist_train_resume_pictures_and_the_encoder(photographs, tmp_path):
    """Two CPU processes, then resumed by one: what it writes can be used."""
    work = tmp_path / 'run'
    code, log = run('tools/dist_train.sh', QUICK, 2, '--data', photographs, '--epochs', 2,
                    '--batch-size', 3, '--work-dir', work, '--cfg-options',
                    'default_hooks.logger.interval=1', PORT='29611')
    assert code == 0, log
    assert f'12 in {photographs}' in log and '6 = 3 images x 2 processes' in log
    assert 'float32 on cpu' in log and f'mmwamim show {work}' in log, log
    state = torch.load(work / 'encoder.pth', weights_only=True)['state_dict']
    full = torch.load(work / 'epoch_2.pth', weights_only=False)['state_dict']
    assert set(state) == {name for name in full if name.startswith('backbone.')}
    assert all(torch.equal(state[name], full[name]) for name in state)
    backbone = Config.fromfile(ROOT / QUICK).model.backbone
    stock = VisionTransformer(arch=backbone.arch, img_size=64, patch_size=8, out_type='raw')
    stock.load_state_dict({n.removeprefix('backbone.'): v for n, v in state.items()}, strict=True)

    code, log = train_in_ranks(QUICK, '--data', photographs, '--epochs', 3, '--batch-size', 3,
                               '--work-dir', work, '--resume', ranks=1)
    assert code == 0 and 'resumed epoch: 2' in log and (work / 'epoch_3.pth').exists(), log

    code, log = run_here('tools/analysis/plot_log.py', work)
    assert code == 0 and Image.open(work / 'loss_curve.png').size[0] > 1000, log
    out = tmp_path / 'reconstruction.png'
    command = ('tools/analysis/show_reconstruction.py', QUICK)
    code, log = run_here(*command, work / 'epoch_3.pth', photographs, '--out', out, '--most', 3)
    assert code == 0 and Image.open(out).size[1] > 400, log
    code, log = run_here(*command, work / 'encoder.pth', photographs, '--out', out)
    assert code != 0 and 'weights missing' in log


def test_swin_with_two_processes(photographs, tmp_path):
    code, log = train_in_ranks('configs/wamim/swin_b_100e.py', '--data', photographs, '--epochs', 1,
                               '--batch-size', 2, '--work-dir', tmp_path / 'run', '--cfg-options',
                               'model.backbone.arch=tiny', 'train_dataloader.num_workers=0',
                               'train_dataloader.persistent_workers=False')
    assert code == 0, log
    state = torch.load(tmp_path / 'run/encoder.pth', weights_only=True)['state_dict']
    stock = SwinTransformer(arch='tiny', out_indices=(0, 1, 2, 3))
    stock.load_state_dict({n.removeprefix('backbone.'): v for n, v in state.items()}, strict=True)


@pytest.mark.parametrize('arguments, message', [
    (['configs/wamim/vit_c.py'], "there is no config 'configs/wamim/vit_c.py'"),
    ([QUICK, '--data', 'nowhere'], "'nowhere' is not a folder"),
    ([QUICK, '--data', '{empty}'], 'no image found below'),
    ([QUICK, '--data', '{images}', '--epochs', '0'], '--epochs must be at least 1'),
    ([QUICK, '--data', '{images}', '--cfg-options', 'model.mask_ratio=1.5'], 'mask_ratio'),
])
def test_mistakes_end_in_one_clear_line(arguments, message, photographs, tmp_path):
    (tmp_path / 'empty').mkdir()
    arguments = [a.format(images=photographs, empty=tmp_path / 'empty') for a in arguments]
    code, log = train_in_ranks(*arguments, '--work-dir', tmp_path / 'w', ranks=1)
    assert code != 0 and message in log.splitlines()[-1], log


def test_scripts_refuse_what_cannot_run(tmp_path):
    code, log = run('tools/dist_train.sh', QUICK)
    assert code == 2 and log.startswith('usage:')
    code, log = run('tools/dist_train.sh', QUICK, 'eight')
    assert code != 0 and 'positive integer' in log
    # A machine with one GPU, as far as the script can see.
    fake = tmp_path / 'python'
    fake.write_text('#!/bin/sh\necho 1\n')
    fake.chmod(0o755)
    code, log = run('tools/dist_train.sh', QUICK, 2, PYTHON=str(fake))
    assert (code, log) == (1, 'error: 2 GPUs were asked for, but this machine has 1\n')
    code, log = run(sys.executable, 'tools/test.py', QUICK, 'setup.py')
    assert code != 0 and 'has no test_dataloader' in log


def test_slurm_scripts_start_srun_as_asked(tmp_path):
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\necho "$@"\n')
    srun.chmod(0o755)
    path = f'{tmp_path}:{os.environ["PATH"]}'
    code, log = run('tools/slurm_train.sh', 'part', 'job', QUICK, 'work', '--resume', PATH=path,
                    GPUS='4', SRUN_ARGS='--time=1 --qos=x')
    assert code == 0, log
    for word in ('--partition=part', '--ntasks=4', '--ntasks-per-node=4', '--time=1 --qos=x',
                 f'{QUICK} --work-dir work --launcher slurm --resume'):
        assert word in log
    code, log = run('tools/slurm_test.sh', 'part', 'job', QUICK, 'x.pth', PATH=path)
    assert code == 0 and f'tools/test.py {QUICK} x.pth --launcher slurm' in log


def test_imagenet_layout_reads_train_alone(tmp_path):
    from mmwamim.datasets import UnlabelledImages
    for split in ('train', 'val'):
        (tmp_path / split / 'n01440764').mkdir(parents=True)
        Image.new('RGB', (8, 8)).save(tmp_path / split / 'n01440764' / 'x.JPEG')
    images = UnlabelledImages(str(tmp_path))
    assert [item['img_path'] for item in images] == [
        str(tmp_path / 'train' / 'n01440764' / 'x.JPEG')]


def test_parts_are_found_by_name_from_any_project(tmp_path):
    shutil.copytree(ROOT / 'mmwamim', tmp_path / 'site/mmwamim',
                    ignore=shutil.ignore_patterns('.mim'))
    script = '''
from mmengine.registry import init_default_scope, MODELS as ROOT_MODELS
from mmpretrain.registry import MODELS, DATASETS, HOOKS
init_default_scope('mmpretrain')
print(type(MODELS.build(dict(type='mmwamim.WaveletTargetGenerator'))).__module__)
print(type(ROOT_MODELS.build(dict(type='mmwamim.MaskedViT'))).__module__)
print(HOOKS.get('mmwamim.EncoderExportHook').__module__)
print(DATASETS.get('mmwamim.UnlabelledImages').__module__)
'''
    code, log = run(sys.executable, '-W', 'ignore', '-c', script, cwd=tmp_path,
                    PYTHONPATH=str(tmp_path / 'site'))
    assert code == 0, log
    for module in ('mmwamim.models.targets.wavelet', 'mmwamim.models.encoders.vit',
                   'mmwamim.engine.export.hook', 'mmwamim.datasets.images'):
        assert module in log.splitlines()
