"""Small runs in the process of the test: what tools/train.py does, without starting Python anew."""
import importlib.util
import json
import os
import secrets
import signal
import sys
from pathlib import Path
from unittest import mock

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwamim.engine.config.settle import settle
from mmwamim.engine.training.runner import TrainingRunner
from mmwamim.errors import Preempted
from tests.support.commands import ROOT

PRETRAIN = 'configs/quickstart/vit_tiny_pretrain.py'
GROWING = 'configs/evidence/imagenette/growing.py'
FINETUNE = 'configs/trials/cifar10_finetune.py'
# Models whose steps take milliseconds.
SHRINK = {
    PRETRAIN: ['model.backbone.arch.embed_dims=32', 'model.backbone.arch.num_layers=4',
               'model.backbone.arch.num_heads=2', 'model.backbone.arch.feedforward_channels=64',
               'model.backbone.out_indices=(0,1,2,3)', 'model.neck.embed_dims=32',
               'model.neck.num_heads=2'],
    FINETUNE: ['model.backbone.arch.embed_dims=32', 'model.backbone.arch.num_layers=2',
               'model.backbone.arch.num_heads=2', 'model.backbone.arch.feedforward_channels=64',
               'model.head.in_channels=32', 'train_dataloader.dataset.indices=None',
               'val_dataloader.dataset.indices=None',
               'test_dataloader.dataset.indices=None', 'val_dataloader.dataset.data_prefix=val']}
SHRINK[GROWING] = SHRINK[PRETRAIN]
LINEAR = 'configs/classification/vit_s_linear_90e.py'
DETECT = 'configs/trials/mask_rcnn_swin_small_coco100.py'
SEGMENT = 'configs/trials/upernet_swin_small_coco100.py'
SWIN = ['model.backbone.arch.embed_dims=24', 'model.backbone.arch.depths=[1,1,1,1]',
        'model.backbone.arch.num_heads=[1,1,2,2]']
MASK_RCNN = [
    *SWIN, 'model.neck.in_channels=[24,48,96,192]', 'model.neck.out_channels=16',
    'model.rpn_head.in_channels=16', 'model.rpn_head.feat_channels=16',
    'model.roi_head.bbox_roi_extractor.out_channels=16', 'model.roi_head.bbox_head.in_channels=16',
    'model.roi_head.bbox_head.fc_out_channels=32',
    'model.roi_head.mask_roi_extractor.out_channels=16', 'model.roi_head.mask_head.in_channels=16',
    'model.roi_head.mask_head.conv_out_channels=16']
SHRINK[LINEAR] = [
    'model.backbone.img_size=32', 'model.backbone.patch_size=8',
    'train_dataloader.dataset.pipeline.1.scale=32', 'val_dataloader.dataset.pipeline.1.scale=36',
    'val_dataloader.dataset.pipeline.2.crop_size=32']
SHRINK[DETECT] = [
    *MASK_RCNN,
    'train_dataloader.dataset.indices=None', 'val_dataloader.dataset.indices=2',
    'train_dataloader.dataset.pipeline.2.scale=(128,96)', 'train_dataloader.batch_size=2',
    'val_dataloader.dataset.pipeline.1.scale=(128,96)', 'train_cfg.val_interval=1',
    'model.train_cfg.rpn_proposal.max_per_img=20', 'model.train_cfg.rcnn.sampler.num=16',
    'model.test_cfg.rpn.max_per_img=10', 'default_hooks.checkpoint.interval=1']
SHRINK[SEGMENT] = [
    *SWIN, 'model.decode_head.in_channels=[24,48,96,192]', 'model.auxiliary_head.in_channels=96',
    'train_dataloader.dataset.indices=None', 'val_dataloader.dataset.indices=1',
    'train_dataloader.batch_size=2', 'train_dataloader.dataset.pipeline.2.scale=(96,72)',
    'train_dataloader.dataset.pipeline.3.crop_size=(64,64)', 'model.data_preprocessor.size=(64,64)',
    'val_dataloader.dataset.pipeline.1.scale=(96,72)', 'train_cfg.val_interval=3',
    'train_cfg.max_iters=7', 'default_hooks.checkpoint.interval=3',
    'model.decode_head.channels=16', 'model.auxiliary_head.channels=8',
    *[f'model.{head}.num_classes=2' for head in ('decode_head', 'auxiliary_head')],
    *[f'{name}_dataloader.dataset.metainfo.classes=[a,b]' for name in ('train', 'val', 'test')]]
# What mmpretrain's own configs have in the place of our parts.
STOCK = ['custom_hooks=[]', 'default_hooks.checkpoint.type=CheckpointHook',
         'train_cfg.type=EpochBasedTrainLoop', 'train_dataloader.sampler.type=DefaultSampler']
QUIET = ['train_dataloader.num_workers=0', 'default_hooks.logger.interval=1']


def prepare(config: str, data: Path, work: Path, *options, fields=()) -> Runner:
    """The runner of a tiny run; options are those of tools/train.py, fields KEY=VALUE."""
    spec = importlib.util.spec_from_file_location('train_script', ROOT / 'tools/train.py')
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    workers = ['val_dataloader.num_workers=0'] if config not in (PRETRAIN, GROWING) else []
    command = ['train.py', ROOT / config, '--data', data, '--work-dir', work, *options,
               *(['--pretrained', 'none'] if config not in (PRETRAIN, GROWING) else []),
               '--cfg-options', *SHRINK[config], *QUIET, *workers, *fields]
    with mock.patch.object(sys, 'argv', [str(part) for part in command]):
        cfg = settle(script.parse_args())
    cfg.experiment_name = secrets.token_hex(4)  # MMEngine keeps logs and histories by this name
    return TrainingRunner.from_cfg(cfg)


def train(*args, **kwargs) -> Runner:
    """:func:`prepare`, and trains."""
    runner = prepare(*args, **kwargs)
    runner.train()
    return runner


class Recorder(Hook):
    """Notes the step, learning rates and files of every batch; can ask the run to stop."""

    def __init__(self, stop_after: int = 0) -> None:
        self.stop_after, self.steps, self.rates, self.files, self.eta = stop_after, [], [], [], []
        self.inputs = []  # the mean of every picture, as it was cropped

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.inputs.append([float(image.float().mean()) for image in data_batch['inputs']])
        self.steps.append((runner.epoch, batch_idx, runner.iter))
        self.rates.append([group['lr'] for group in runner.optim_wrapper.optimizer.param_groups])
        self.files.append([Path(sample.img_path).name for sample in data_batch['data_samples']])
        if runner.iter + 1 == self.stop_after:
            os.kill(os.getpid(), signal.SIGUSR1)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.eta.append(runner.message_hub.get_info('eta'))


def record(*args, stop_after: int = 0, **kwargs) -> Recorder:
    """Trains, to the end or until it has been asked to stop, and says what was seen."""
    runner, recorder = prepare(*args, **kwargs), Recorder(stop_after)
    runner.register_hook(recorder, 'LOW')
    if stop_after:
        with pytest.raises(Preempted):
            runner.train()
    else:
        runner.train()
    recorder.runner = runner
    return recorder


def scalars(work: Path) -> dict:
    """The logged row of every step, whichever attempt wrote it last."""
    found = {}
    for path in sorted(work.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            if 'loss' in row:
                found[row['step']] = row
    return found
