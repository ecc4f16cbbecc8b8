"""What --data becomes: splits, one list of classes, one reader."""
import copy
import logging

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS

from mmwamim.datasets.listing import NoImages
from mmwamim.engine.config.data import checkpoint_classes, settle_data, settle_reading
from mmwamim.engine.config.loaders import data_sets
from mmwamim.engine.config.step import settle_precision
from mmwamim.errors import UserError
from tests.datasets.test_images import paint
from tests.support.commands import ROOT

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
                                       'by val_dataloader.dataset.data_prefix=NAME'):
        settle_data(config(), str(root))
    paint(root / 'hold out/bee', 9, '0.png')
    cfg = config(val_dataloader=dict(dataset=dict(data_prefix='hold out')),
                 test_dataloader=dict(dataset=dict(data_prefix='hold out')))
    settle_data(cfg, str(root))
    assert cfg.val_dataloader.dataset.data_prefix == 'hold out'
    with pytest.raises(NoImages, match="'train'.*is to hold train/<class>"):
        settle_data(config(), str(root / 'hold out'))
    with pytest.raises(NoImages, match="'nowhere' is not a folder"):
        settle_data(config(), 'nowhere')


def test_one_class_is_told_before_the_first_step(root):
    for folder in (root / 'train/ant', root / 'train/cow', root / 'valid/cow'):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    with pytest.raises(UserError, match='there is one class in .*: a classifier tells at least'):
        settle_data(config(), str(root))


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


@pytest.mark.parametrize('step, ours', [
    (dict(type='LoadImageFromFile'), True),
    (dict(type='mmdet.LoadImageFromFile', backend_args=None), True),
    (dict(type='mmcv.LoadImageFromFile', imdecode_backend='pillow', to_float32=False), True),
    (dict(type='LoadImageFromFile', file_client_args=dict(backend='disk')), True),
    (dict(type='LoadImageFromFile', backend_args=dict(backend='petrel')), False),
    (dict(type='LoadImageFromFile', color_type='unchanged'), False),
    (dict(type='LoadImageFromFile', to_float32=True), False),
    (dict(type='LoadImageFromWebcam'), False)])
def test_readers_of_other_projects(step, ours):
    cfg = config(train_dataloader=dict(dataset=dict(pipeline=[dict(step)])))
    settle_reading(cfg)
    assert cfg.train_dataloader.dataset.pipeline == [
        dict(type='mmwamim.LoadImage') if ours else step]


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


def test_as_many_guesses_as_classes_whoever_set_their_number(root):
    """mmpretrain's Accuracy cannot take the best 5 of 3 classes; other metrics have no topk."""
    cfg = config(model=dict(head=dict(num_classes=3)), data_preprocessor=dict(num_classes=3))
    cfg.val_evaluator = [dict(type='Accuracy', topk=(1, 3, 5)), dict(type='SingleLabelMetric')]
    cfg.test_evaluator = dict(type='mmpretrain.Accuracy', topk=5)
    settle_data(cfg, str(root))
    assert cfg.val_evaluator == [dict(type='Accuracy', topk=(1, 3)), dict(type='SingleLabelMetric')]
    assert cfg.test_evaluator.topk == (1, )


def test_every_number_of_classes_of_head_and_loss(root):
    cfg = config(model=dict(head=dict(loss=dict(num_classes=10)),
                            data_preprocessor=dict(num_classes=10)))
    settle_data(cfg, str(root))
    assert cfg.model.head.loss.num_classes == cfg.model.data_preprocessor.num_classes == 3


def wrap(kind, dataset):
    inside = dict(datasets=[dataset]) if kind == 'ConcatDataset' else dict(dataset=dataset)
    return dict(type=kind, **inside, **(dict(times=2) if kind == 'RepeatDataset' else {}))


@pytest.mark.parametrize('kind', ['RepeatDataset', 'ConcatDataset', 'KFoldDataset'])
def test_data_sets_in_data_sets_get_the_same_classes(root, kind):
    cfg = config()
    cfg.train_dataloader.dataset = wrap(kind, cfg.train_dataloader.dataset)
    settle_data(cfg, str(root))
    train, = data_sets(cfg.train_dataloader)
    assert (train.type, train.data_root) == ('mmwamim.ClassFolders', str(root))
    assert train.classes == cfg.val_dataloader.dataset.classes == ['ant', 'bee', 'cow']


def test_mmpretrains_own_imagenet_counts_in_the_training_sets_classes_too(root):
    cfg = config()
    for name in ('train', 'val', 'test'):
        dataset = cfg[f'{name}_dataloader'].dataset
        for field in ('data_prefix', 'indices'):
            dataset.pop(field, None)
        dataset.update(type='ImageNet', split='train' if name == 'train' else 'val')
    settle_data(cfg, str(root))
    val = cfg.val_dataloader.dataset
    assert val == dict(type='mmwamim.ClassFolders', data_root=str(root), data_prefix='valid',
                       classes=['ant', 'bee', 'cow'], pipeline=val.pipeline, test_mode=True)


def test_a_checkpoint_of_mmpretrains_imagenet_counts_in_folders():
    """Its classes are words, 'tench, Tinca tinca'; the folders are WordNet ids, in this order."""
    from mmpretrain.datasets.categories import IMAGENET_CATEGORIES
    classes = checkpoint_classes(dict(meta=dict(dataset_meta=dict(classes=IMAGENET_CATEGORIES))))
    assert len(classes) == 1000 and classes == tuple(sorted(classes))
    for wnid, word in (('n01440764', 'tench'), ('n02123045', 'tabby'), ('n15075141', 'toilet')):
        assert IMAGENET_CATEGORIES[classes.index(wnid)].startswith(word)


def listed(root, **files):
    """The config on label files, of the images of ``root``."""
    (root / 'meta').mkdir(exist_ok=True)
    cfg = config(model=dict(head=dict(num_classes=4)))
    for name, lines in files.items():
        (root / f'meta/{name}.txt').write_text('\n'.join(lines))
        cfg[f'{name}_dataloader'].dataset.update(
            ann_file=f'meta/{name}.txt', data_prefix='train', indices=None)
    cfg.pop('test_dataloader')
    return cfg


def test_label_files(root):
    cfg = listed(root, train=['ant/0.png 0', 'bee/0.png 2'], val=['cow/0.png 1'])
    settle_data(cfg, str(root))
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=[
        dict(type='mmwamim.LoadImage')]))
    assert [dataset.get_data_info(i)['gt_label'] for i in range(2)] == [0, 2]
    assert type(dataset).__name__ == 'ClassFolders' and cfg.model.head.num_classes == 4
    (root / 'train/ant/0.png').write_bytes(b'nothing')  # which does not end a run
    assert dataset[0]['gt_label'] == 2


@pytest.mark.parametrize('files, message', [
    (dict(train=['ant/0.png 0', 'bee/0.png']), "train.txt, line 2: expected the path of an image"),
    (dict(train=['ant/0.png -1']), "not 'ant/0.png -1'"),
    (dict(train=['ant/0.png 0'], val=['bee/0.png 1']), 'val.txt, line 1: the label 1 is no class'),
    (dict(train=['ant/9.png 0']), "1 of the 1 images .* such as 'ant/9.png'"),
    (dict(train=[]), 'names no image')])
def test_faults_of_label_files_are_named(root, files, message):
    files = dict(dict(val=['ant/0.png 0']), **files)
    cfg = listed(root, **{name: files[name] for name in ('train', 'val')})
    with pytest.raises(UserError, match=message):
        settle_data(cfg, str(root))


def test_a_home_folder_is_written_out(root, monkeypatch):
    monkeypatch.setenv('HOME', str(root.parent))
    cfg = config()
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'].dataset.data_root = f'~/{root.name}'
    settle_data(cfg)
    assert cfg.val_dataloader.dataset.data_root == str(root)


def test_columns_of_the_command_line_go_to_every_split(root):
    for split in ('train', 'valid'):
        paths = sorted(path for path in (root / split).glob('*/*.png')
                       if not path.parent.name.startswith('.'))
        (root / f'{split}.csv').write_text('\n'.join(['where,kind', *(
            f'{path.relative_to(root)},{path.parent.name}' for path in paths)]))
        (root / split).rename(root / f'{split}_files')
        text = (root / f'{split}.csv').read_text()
        (root / f'{split}.csv').write_text(text.replace(f'{split}/', f'{split}_files/'))
    cfg = config()
    for name in ('train', 'val'):
        cfg[f'{name}_dataloader'].dataset.pop('indices', None)
    settle_data(cfg, str(root), column='where', label_column='kind')
    assert cfg.train_dataloader.dataset.classes == ['ant', 'bee', 'cow']
    images = [DATASETS.build(cfg[f'{name}_dataloader'].dataset) for name in ('train', 'val')]
    assert [one.get_gt_labels().tolist() for one in images] == [[0, 0, 1, 1, 2, 2], [1, 2]]
    with pytest.raises(UserError, match="train.csv.* has no column 'nope'"):
        settle_data(config(), str(root), column='nope', label_column='kind')
    for split in ('train', 'val'):
        paint(root / 'set' / split / 'ant', 9, '0.png')
    with pytest.raises(UserError, match='set/train.* has no columns'):
        settle_data(config(), str(root / 'set'), column='where')
    pretrain = Config.fromfile(ROOT / 'configs/quickstart/vit_tiny_pretrain.py')
    settle_data(pretrain, str(root / 'train.csv'), column='where')
    assert len(DATASETS.build(pretrain.train_dataloader.dataset)) == 6
    with pytest.raises(UserError, match='label_column is for data sets with one label an image'):
        settle_data(pretrain, str(root / 'train.csv'), label_column='kind')
