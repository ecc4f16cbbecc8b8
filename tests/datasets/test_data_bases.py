"""LMDB as the tools of OpenMMLab write it: which entries are images, and their labels."""
import pytest
from mmengine.config import Config

from mmwamim.datasets import ClassFolders, UnlabelledImages
from mmwamim.datasets.listing import NoImages
from mmwamim.datasets.loading import UnreadableImage
from mmwamim.datasets.sources import open_source
from mmwamim.datasets.sources.database import close_all
from mmwamim.engine.config.data import settle_data
from mmwamim.errors import UserError
from tests.datasets.test_sources import LOAD, caches, greys, picture

lmdb = pytest.importorskip('lmdb')
assert caches  # a fixture, for every test here


def write(path, **values):
    path.mkdir(parents=True)
    with lmdb.open(str(path), map_size=1 << 20) as environment:
        with environment.begin(write=True) as transaction:
            for key, value in values.items():
                transaction.put(key.encode(), value)
    return path


def test_meta_info_names_the_images(tmp_path):
    """MMagic: keys without the ending, and a line for each image beside the data."""
    path = write(tmp_path / 'x.lmdb', bee=picture(1), ant=picture(2), other=b'no image')
    (path / 'meta_info.txt').write_text('bee.png (6,8,3) 1\nant.png (6,8,3) 1\n\n')
    images = UnlabelledImages(str(path), pipeline=LOAD)
    assert greys(images) == [1, 2] and images.data_list.source.key(0) == f'{path}/bee'
    assert 'those that meta_info.txt names' in images.description
    (path / 'meta_info.txt').write_text('bee.png (6,8,3) 1\ngone.png (6,8,3) 1\n')
    with pytest.raises(NoImages, match=r"meta_info.txt names 'gone.png', which is no key of .*x.l"):
        open_source(str(path))
    with pytest.raises(UserError, match="x.lmdb.* has no labels: .* 'bee' shows|names 'gone"):
        open_source(str(path), '', True)


@pytest.mark.parametrize('place', ['set/train.txt', 'set/meta/train.txt',
                                   'set/train.lmdb/labels.txt'])
def test_labels_from_a_file_beside_it(tmp_path, place):
    write(tmp_path / 'set/train.lmdb', **{'1.png': picture(1), '2.png': picture(2), 'x/3': b''})
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text('2.png bee\n1.png  ant\n')
    images = ClassFolders(str(tmp_path / 'set'), 'train', pipeline=LOAD)
    assert greys(images) == [2, 1] and images.get_gt_labels().tolist() == [1, 0]
    assert images.CLASSES == ('ant', 'bee')
    (tmp_path / place).write_text('2.png bee\n1.png\n')
    with pytest.raises(UserError, match="line 2: expected a key of the data base, a blank and its"):
        open_source(str(tmp_path / 'set'), 'train', True)


def test_numbered_entries_of_mmocr(tmp_path):
    path = write(tmp_path / 'x.lmdb', **{
        'num-samples': b'2', 'image-000000001': picture(1), 'label-000000001': b'bee',
        'image-000000002': picture(2), 'label-000000002': b'ant'})
    images = ClassFolders(str(path), '', pipeline=LOAD)
    assert greys(images) == [1, 2] and images.get_gt_labels().tolist() == [1, 0]


def test_a_label_file_of_the_config(tmp_path):
    """``ann_file`` and a data base, as mmpretrain's configs name them with MMEngine's backend."""
    path = write(tmp_path / 'data.lmdb', a=picture(1), b=picture(2), c=picture(3))
    (tmp_path / 'meta').mkdir()
    (tmp_path / 'meta/train.txt').write_text('c 1\na 0\n')
    reader = dict(type='LoadImageFromFile', backend_args=dict(backend='lmdb', db_path=str(path)))
    dataset = dict(type='CustomDataset', data_root=str(tmp_path), ann_file='meta/train.txt',
                   pipeline=[reader, dict(type='PackInputs')])
    cfg = Config(dict(model=dict(type='ImageClassifier', backbone=dict(type='VisionTransformer'),
                                 head=dict(type='LinearClsHead', num_classes=1000)),
                      train_dataloader=dict(batch_size=2, num_workers=0, dataset=dataset)))
    settle_data(cfg)
    settled = cfg.train_dataloader.dataset
    assert cfg.model.head.num_classes == 1000 and settled.type == 'mmwamim.ClassFolders'
    images = ClassFolders(**{name: value for name, value in settled.items() if name != 'type'})
    assert images.get_gt_labels().tolist() == [1, 0]
    assert [int(images[i]['inputs'][0, 0, 0]) for i in range(2)] == [3, 1]
    (tmp_path / 'meta/train.txt').write_text('c 1\ngone 0\n')
    with pytest.raises(NoImages, match="meta/train.txt names 'gone', which is no key"):
        settle_data(cfg)
    settled.column = 'x'
    with pytest.raises(UserError, match='no column to name'):
        settle_data(cfg)


def test_a_key_that_went_is_an_unreadable_image(tmp_path):
    path = write(tmp_path / 'x.lmdb', a=picture(1), b=picture(2))
    source = open_source(str(path))
    assert source.read(1) == picture(2)
    close_all()
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        transaction.delete(b'b')
    assert source.read(0) == picture(1)
    with pytest.raises(UnreadableImage, match='x.lmdb/b: the data base has lost this key'):
        source.read(1)
