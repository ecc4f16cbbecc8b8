"""``--fsdp`` for what comes after pre-training: fine-tuning, Mask R-CNN and UperNet learn from a
checkpoint on two processes what they learn without, and save it."""
import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from mmwamim.engine.checkpoints import read_checkpoint
from tests.support.commands import ROOT, SERIAL
from tests.support.processes import in_two_processes, train_in_ranks
from tests.support.runs import MASK_RCNN
from tests.support.small_data import make_ade, make_coco, make_imagenet

SGD = ['optim_wrapper.optimizer.lr=0.01', 'auto_scale_lr.enable=False',
       'default_hooks.logger.interval=1']
TASKS = {
    'classification': ('configs/trials/cifar10_finetune.py', 'imagenet', [
        '--epochs', '1', '--batch-size', '2', '--cfg-options', *SGD, *SERIAL,
        'model.backbone.img_size=96', 'train_dataloader.dataset.indices=[0,1,2,3]',
        'train_dataloader.dataset.pipeline.1.crop_size=96', 'val_dataloader.batch_size=1',
        'val_dataloader.dataset.indices=[0,1]', 'val_dataloader.dataset.data_prefix=val']),
    'detection': ('configs/trials/mask_rcnn_swin_small_coco100.py', 'coco', [
        '--epochs', '1', '--batch-size', '1', '--cfg-options', *SGD, *SERIAL, *MASK_RCNN,
        'train_dataloader.dataset.indices=2', 'train_dataloader.dataset.pipeline.2.scale=(128,96)',
        'train_cfg.val_interval=9']),
    'segmentation': ('configs/segmentation/upernet_swin_b_160k_ade20k_512x512.py', 'ade', [
        '--batch-size', '2', '--cfg-options', *SGD, *SERIAL,
        'model.backbone.arch={"_delete_":true,"embed_dims":24,"depths":[1,1,1,1],'
        '"num_heads":[1,1,2,2]}', 'train_cfg.max_iters=1',
        'train_cfg.val_interval=9', 'model.decode_head.channels=16',
        'model.decode_head.in_channels=[24,48,96,192]', 'model.auxiliary_head.in_channels=96',
        'model.auxiliary_head.channels=8', 'train_dataloader.dataset.pipeline.2.scale=(128,96)',
        'train_dataloader.dataset.pipeline.3.crop_size=(64,64)',
        'model.data_preprocessor.size=(64,64)', 'model.test_cfg.crop_size=(64,64)',
        'model.test_cfg.stride=(64,64)', 'val_dataloader.dataset.pipeline.1.scale=(128,96)']),
}


def write_encoder(config, options, path):
    """The backbone of a config after random initialisation, as a pre-training checkpoint."""
    cfg = Config.fromfile(ROOT / config)
    fields = dict(option.split('=', 1) for option in options if option.startswith('model.backbone'))
    cfg.merge_from_dict({name: value if value.isalpha() else json.loads(value)
                         for name, value in fields.items()})
    torch.manual_seed(1)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        backbone = MODELS.build({**cfg.model.backbone, 'init_cfg': None})
    torch.save(dict(state_dict={f'backbone.{name}': value + 0.01 if value.is_floating_point()
                                else value for name, value in backbone.state_dict().items()}),
               path)
    return path


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    return dict(imagenet=make_imagenet(root / 'imagenet'), coco=make_coco(root / 'coco'),
                ade=make_ade(root / 'ade'))


def test_every_task_learns_under_fsdp_what_it_learns_without(data, tmp_path):
    log = ''
    for task, (config, folder, options) in TASKS.items():
        encoder = write_encoder(config, options, tmp_path / f'{task}.pth')
        for sharded in (False, True):
            code, more = train_in_ranks(
                config, '--data', data[folder], '--work-dir', tmp_path / f'{task}{sharded}',
                '--pretrained', encoder, *['--fsdp'] * sharded, *options)
            assert code == 0, more[-6000:]
            log += more
    assert log.count('are shared out among 2 processes') == 3
    assert log.count('Encoder weights loaded from') == 6
    for task in TASKS:
        plain, sharded = (max((tmp_path / f'{task}{kind}').glob('*_1.pth'))
                          for kind in (False, True))
        assert_same(read_checkpoint(sharded), read_checkpoint(plain), task)


def assert_same(ours, theirs, task):
    """Weights and moments to rounding, in a file of the same form."""
    assert list(ours['state_dict']) == list(theirs['state_dict'])
    groups = [checkpoint['optimizer']['param_groups'] for checkpoint in (ours, theirs)]
    assert groups[0] == groups[1]
    assert ours['optimizer']['state'].keys() == theirs['optimizer']['state'].keys()
    for index, moments in theirs['optimizer']['state'].items():
        scale = moments['exp_avg'].abs().max()
        torch.testing.assert_close(ours['optimizer']['state'][index]['exp_avg'] / (scale + 1e-9),
                                   moments['exp_avg'] / (scale + 1e-9), rtol=0, atol=2e-2,
                                   msg=f'{task} {index}')


class Unit(nn.Module):

    def __init__(self):
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(4, 4), nn.Linear(4, 2), nn.BatchNorm1d(4)
        self.seen = []

    def forward(self, x):
        self.seen = [x.dtype, self.first.weight.dtype, self.norm.weight.dtype]
        return self.second(self.norm(self.first(x)).float())


def _policy(rank):
    from mmwamim.engine.distributed.sharding import shard_model
    mesh = init_device_mesh('cpu', (2, ))
    for dtype in (None, torch.bfloat16):
        torch.manual_seed(0)
        model = Unit()
        with torch.no_grad():
            alone = [parameter.clone() for parameter in model.parameters()]
        shard_model(model, mesh, dtype)
        # What is shared out, and what comes of it, is float32 ...
        assert all(isinstance(p, DTensor) and p.dtype == torch.float32
                   for p in model.parameters())
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=dtype is not None):
            loss = model(torch.randn(3, 4, generator=torch.Generator().manual_seed(rank))).square()
        loss.mean().backward()
        assert all(p.grad.dtype == torch.float32 for p in model.parameters())
        # ... what is gathered has the networks' dtype, but for batch norms, and inputs keep theirs.
        assert model.seen == [torch.float32, dtype or torch.float32, torch.float32]
        for parameter, before in zip(model.parameters(), alone, strict=True):
            assert torch.equal(parameter.full_tensor(), before)


def test_the_precision_policy():
    in_two_processes(_policy)
