"""From one real step of pre-training to every downstream task, at full model size."""
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmwamim.engine.export.arrival import read_encoder
from tests.support.commands import ROOT, SERIAL
from tests.support.models import noise
from tests.support.processes import train_in_ranks
from tests.support.small_data import make_ade, make_coco, make_imagenet

# For each encoder: its pre-training config, and the downstream ones.
TASKS = dict(
    vit_s=('configs/wamim/vit_s_100e.py', ['configs/classification/vit_s_ft_200e.py']),
    vit_b=('configs/wamim/vit_b_100e.py', [
        'configs/classification/vit_b_ft_100e.py',
        'configs/detection/mask_rcnn_vit_b_sfp_3x_coco.py',
        'configs/segmentation/upernet_vit_b_160k_ade20k_512x512.py']),
    swin_b=('configs/wamim/swin_b_100e.py', [
        'configs/classification/swin_b_ft_100e.py',
        'configs/detection/mask_rcnn_swin_b_fpn_3x_coco.py',
        'configs/segmentation/upernet_swin_b_160k_ade20k_512x512.py']))
MEASURES = dict(classification=['accuracy/top1'], segmentation=['mIoU'],
                detection=['coco/bbox_mAP', 'coco/segm_mAP'])
# One image of one step, in small images: the models are full-size, the data is not.
SHORT = dict(
    classification=['--epochs', '1', '--batch-size', '2', '--cfg-options',
                    'train_dataloader.dataset.indices=[0,1]', 'val_dataloader.batch_size=4'],
    detection=['--epochs', '1', '--batch-size', '1', '--cfg-options',
               'train_dataloader.dataset.indices=1', 'val_dataloader.dataset.indices=1',
               'train_dataloader.dataset.pipeline.2.scales=[(224,256)]',
               'val_dataloader.dataset.pipeline.1.scale=(256,224)',
               # Of an untrained detector: few proposals, and boxes of any score.
               'model.test_cfg.rpn.max_per_img=20', 'model.test_cfg.rcnn.score_thr=0.',
               'model.test_cfg.rcnn.max_per_img=5'],
    segmentation=['--batch-size', '2', '--cfg-options', 'train_cfg.max_iters=1',
                  'train_cfg.val_interval=1',
                  'train_dataloader.dataset.pipeline.2.scale=(256,128)',
                  'train_dataloader.dataset.pipeline.3.crop_size=(128,128)',
                  'model.data_preprocessor.size=(128,128)', 'model.test_cfg.crop_size=(128,128)',
                  'val_dataloader.dataset.pipeline.1.scale=(256,128)'])
# No checkpoints of a gigabyte, which nothing looks at here; encoder.pth is written in any case.
SPARING = ['default_hooks.checkpoint.interval=1000', 'default_hooks.checkpoint.save_last=False',
           'default_hooks.checkpoint.save_best=None']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    return dict(classification=make_imagenet(root / 'imagenet'), detection=make_coco(root / 'coco'),
                segmentation=make_ade(root / 'ade'))


@pytest.mark.parametrize('encoder', TASKS)
def test_one_step_of_pretraining_goes_everywhere(encoder, data, tmp_path):
    config, tasks = TASKS[encoder]
    checkpoint = tmp_path / 'pretrain/encoder.pth'
    code, log = train_in_ranks(
        config, '--data', data['classification'], '--epochs', 1, '--batch-size', 2, '--work-dir',
        tmp_path / 'pretrain', '--cfg-options', 'train_dataloader.dataset.indices=[0,1]',
        *SERIAL[:2], *SPARING, ranks=1)
    assert code == 0, log[-6000:]
    for task in tasks:
        kind = task.split('/')[1]
        code, log = train_in_ranks(
            task, '--data', data[kind], '--pretrained', checkpoint, '--work-dir', tmp_path / kind,
            *SHORT[kind], *SERIAL, *SPARING, ranks=1)
        assert code == 0, log[-6000:]
        assert log.count('Encoder weights loaded from') == 1
        assert all(measure in log for measure in MEASURES[kind])


def first_block(backbone):
    return backbone.layers[0] if hasattr(backbone, 'layers') else backbone.stages[0].blocks[0]


def first_features(backbone, images):
    """The output of the first block."""
    seen = []
    hook = first_block(backbone).register_forward_hook(lambda *args: seen.append(args[-1]))
    with torch.no_grad():
        backbone.eval()
        backbone(images)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize('encoder', ['vit_b', 'swin_b'])
def test_the_first_feature_is_that_of_the_checkpoint(encoder, tmp_path):
    config, tasks = TASKS[encoder]
    torch.manual_seed(0)
    source = MODELS.build(Config.fromfile(ROOT / config).model.backbone)
    path = tmp_path / 'encoder.pth'
    torch.save(dict(state_dict={f'backbone.{n}': v for n, v in source.state_dict().items()}), path)
    assert len(read_encoder(path)) == len(source.state_dict())
    images = noise(1, 3, 224, 224)
    expected = first_features(source, images)
    for task in tasks:
        cfg = Config.fromfile(ROOT / task)
        cfg.model.backbone.init_cfg.checkpoint = str(path)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            backbone = MODELS.build(cfg.model.backbone)
            backbone.init_weights()
        ours = first_features(backbone, images)
        if cfg.model.backbone.img_size == 224:
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
        elif encoder == 'vit_b':  # positions went from 14x14 to 32x32 and back
            assert (ours - expected).abs().mean() < 0.05 * expected.abs().mean()
        else:  # relative positions do not depend on the image size
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


DOWNSTREAM = sorted(str(p.relative_to(ROOT)) for folder in (
    'classification', 'detection', 'segmentation', 'robustness', 'trials')
    for p in (ROOT / 'configs' / folder).glob('*.py'))


@pytest.mark.parametrize('path', DOWNSTREAM)
def test_every_downstream_config_builds(path):
    cfg = Config.fromfile(ROOT / path)
    if cfg.model.backbone.get('init_cfg'):
        assert cfg.model.backbone.init_cfg.prefix == 'backbone.'
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.model.get(
            'data_preprocessor', cfg.get('data_preprocessor'))})
    assert sum(p.numel() for p in model.parameters()) > 1e6


@pytest.mark.parametrize('name, decay, epochs', [
    ('vit_s_ft_200e', 0.8, 200), ('vit_b_ft_100e', 0.75, 100), ('swin_b_ft_100e', 0.8, 100)])
def test_fine_tuning_recipes(name, decay, epochs):
    cfg = Config.fromfile(ROOT / f'configs/classification/{name}.py')
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(3.2e-3)
    assert tuple(cfg.optim_wrapper.optimizer.betas) == (0.9, 0.999)
    assert cfg.optim_wrapper.optimizer.weight_decay == 0.05
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == decay
    assert cfg.train_dataloader.batch_size * 8 == cfg.auto_scale_lr.base_batch_size == 2048
    linear, cosine = cfg.param_scheduler
    assert (cfg.train_cfg.max_epochs, linear.end, cosine.end, cosine.T_max) == (
        epochs, 20, epochs, epochs - 20)
    assert cfg.model.backbone.drop_path_rate == 0.1
    assert [(a.type, a.alpha) for a in cfg.model.train_cfg.augments] == [
        ('mmpretrain.Mixup', 0.8), ('mmpretrain.CutMix', 1.0)]
    assert cfg.model.head.loss.label_smooth_val == 0.1
