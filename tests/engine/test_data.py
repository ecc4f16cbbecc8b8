"""What --data becomes: splits, one list of classes, one reader."""
import copy
import logging

import pytest
import torch
from mmengine.config import Config

from mmwamim.datasets.listing import NoImages
from mmwamim.engine.data import checkpoint_classes, settle_data, settle_reading
from mmwamim.engine.launch import settle_precision
from mmwamim.errors import UserError
from tests.datasets.test_images import paint
from tests.tools.test_train import ROOT

FINETUNE = Config.fromfile(ROOT / 'configs/trials/cifar10_finetune.py')


def config(**changes):
    cfg = copy.deepcopy(FINETUNE)
    cfg.merge_from_dict(changes)
    return cfg


@pytest.fixture
def root(tmp_path):
    for name in ('ant', 'bee', 'cow'):
        paint(tmp_path / 'train' / name, 9, '0.png', '1.png')
    paint(tmp_path / 'train/.ipynb_checkpoints', 9, 'ant-checkpoint.png')
    (tmp_path / 'train/void').mkdir()
    paint(tmp_path / 'valid/bee', 9, '0.png')
    paint(tmp_path / 'valid/cow', 9, '0.png')
    return tmp_path


def test_every_split_gets_the_training_sets_classes(root, capsys):
    cfg = config()
    settle_data(cfg, str(root))
    for name, split in (('train', 'train'), ('val', 'valid'), ('test', 'valid')):
        dataset = cfg[f'{name}_dataloader'].dataset
        assert dataset.classes == ['ant', 'bee', 'cow'] and dataset.data_prefix == split
        assert dataset.data_root == str(root)
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == 3
    assert cfg.val_evaluator.topk == cfg.test_evaluator.topk == (1, )
    out = capsys.readouterr().out
    assert f'{root}/test is not there: taking {root}/valid' in out
    assert '3 classes in' in out and 'taking num_classes = 3 instead of 10' in out


def test_what_cannot_be_settled_is_named(root):
    paint(root / 'valid/Ant', 9, '0.png')
    with pytest.raises(UserError, match="'Ant' is written 'ant' there"):
        settle_data(config(), str(root))
    for path in root.glob('valid/*/*'):
        path.unlink()
    with pytest.raises(NoImages, match='valid.* no class folders .*data_prefix=NAME'):
        settle_data(config(), str(root))
    for path in (*root.glob('valid/*'), root / 'valid'):
        path.rmdir()
    with pytest.raises(NoImages, match="no folder for the split 'test': .* found 'train'. Name it "
                                       'with --cfg-options val_dataloader.dataset.data_prefix'):
        settle_data(config(), str(root))
    paint(root / 'hold out/bee', 9, '0.png')
    cfg = config(val_dataloader=dict(dataset=dict(data_prefix='hold out')),
                 test_dataloader=dict(dataset=dict(data_prefix='hold out')))
    settle_data(cfg, str(root))
    assert cfg.val_dataloader.dataset.data_prefix == 'hold out'
    with pytest.raises(NoImages, match="'train'.*Set the data set with --data FOLDER"):
        settle_data(config(), str(root / 'hold out'))
    with pytest.raises(NoImages, match="data_root 'nowhere' is not a folder"):
        settle_data(config(), 'nowhere')


def test_older_configs_get_the_same_list_and_the_same_reader(root):
    cfg = config()
    for name in ('train', 'val', 'test'):
        dataset = cfg[f'{name}_dataloader'].dataset
        dataset.update(type='mmpretrain.CustomDataset', with_label=True)
        dataset.pipeline[0] = dict(type='LoadImageFromFile')
    settle_data(cfg, str(root))
    for name in ('train', 'val', 'test'):
        dataset = cfg[f'{name}_dataloader'].dataset
        assert dataset.type == 'mmwamim.ClassFolders' and len(dataset.classes) == 3
        assert dataset.pipeline[0] == dict(type='mmwamim.LoadImage')


def test_the_classes_of_a_config_and_of_a_checkpoint(root):
    (root / 'names.txt').write_text('\ufeffcow \nant\n\nbee\nzebra crossing\n', encoding='utf-8')
    cfg = config(train_dataloader=dict(dataset=dict(classes=str(root / 'names.txt'))))
    settle_data(cfg, str(root))
    assert cfg.test_dataloader.dataset.classes == ['cow', 'ant', 'bee', 'zebra crossing']
    assert cfg.model.head.num_classes == 4
    with pytest.raises(UserError, match="no file of classes 'nowhere.txt'"):
        settle_data(config(train_dataloader=dict(dataset=dict(classes='nowhere.txt'))), str(root))

    trained = checkpoint_classes(dict(meta=dict(dataset_meta=dict(classes=('bee', 'cow', 'dog')))))
    cfg = config()
    settle_data(cfg, str(root), trained)
    assert cfg.test_dataloader.dataset.classes == ['bee', 'cow', 'dog']
    assert cfg.model.head.num_classes == 3
    with pytest.raises(UserError, match="does not have: 'bee'.*of the training set: 'cow', 'dog'"):
        settle_data(config(), str(root), ['cow', 'dog'])
    for nothing in ({}, dict(meta={}), dict(meta=dict(dataset_meta=None)),
                    dict(meta=dict(dataset_meta=[dict(classes=('a', ))]))):
        assert checkpoint_classes(nothing) is None


def test_a_range_reaches_every_reader():
    cfg = config(value_range=[0, 4095])
    settle_reading(cfg)
    for name in ('train', 'val', 'test'):
        load = cfg[f'{name}_dataloader'].dataset.pipeline[0]
        assert load == dict(type='mmwamim.LoadImage', value_range=(0., 4095.))
    with pytest.raises(UserError, match='value_range must be two rising numbers'):
        settle_reading(config(value_range=[5, 5]))


def test_every_config_reads_with_the_one_reader():
    for path in (ROOT / 'configs').rglob('*.py'):
        assert 'LoadImageFromFile' not in path.read_text(), path


def test_fine_tuning_stores_its_classes_and_survives_a_damaged_image(root, tmp_path, caplog):
    """A run by the classes' own names: labels, checkpoint, report and test agree."""
    from mmengine.runner import Runner
    for i in range(2, 8):
        paint(root / 'train/bee', 9, f'{i}.png')
    (root / 'train/bee/3.png').write_bytes(b'\xff\xd8 nothing')
    loader = dict(batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(indices=None))
    cfg = config(
        train_dataloader=loader, val_dataloader=loader, test_dataloader=loader,
        train_cfg=dict(max_epochs=1, val_interval=1), work_dir=str(tmp_path / 'run'),
        model=dict(backbone=dict(init_cfg=None)), custom_hooks=[],
        visualizer=dict(vis_backends=[]),
        env_cfg=dict(dist_cfg=dict(backend='gloo')), experiment_name='classes')
    settle_precision(cfg, amp=False)
    settle_data(cfg, str(root))
    for name in ('val', 'test'):
        cfg[f'{name}_dataloader'].persistent_workers = False
    runner = Runner.from_cfg(cfg)
    with caplog.at_level(logging.INFO):
        runner.train()
    stored = torch.load(tmp_path / 'run/epoch_1.pth', weights_only=False)
    assert checkpoint_classes(stored) == ('ant', 'bee', 'cow')
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    assert 'Data (train): 12 images in' in log and "left out folders of the system" in log
    assert 'Data (val): 2 images in' in log and "no images of 1 of 3 classes: 'ant'" in log
    assert log.count('unreadable image, skipped') == 1
    # Resumed with another class: its outputs would mean something else.
    (root / 'train/cow').rename(root / 'train/yak')
    (root / 'valid/cow').rename(root / 'valid/yak')
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].dataset.classes = None
    settle_data(cfg, str(root))
    cfg.update(resume=True, load_from=str(tmp_path / 'run/epoch_1.pth'), experiment_name='again')
    with pytest.raises(UserError, match="3 classes, 'ant', 'bee', 'cow', but the data has 3, "
                                        "'ant', 'bee', 'yak'"):
        Runner.from_cfg(cfg).train()
