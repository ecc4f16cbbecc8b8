import unicodedata

import pytest

from mmwamim.datasets.listing import NoImages
from mmwamim.datasets.splits import find_split, list_labelled, pretraining_folder, settle_split
from mmwamim.errors import UserError

from .test_listing import touch


def test_the_classes_are_the_training_folders_with_images(tmp_path):
    train = touch(tmp_path / 'train', 'dog/1.jpg', 'dog/0.jpg', 'cat b/2.JPG', 'cat/3.avif',
                  '.ipynb_checkpoints/cat-checkpoint.jpg', '@eaDir/x.jpg', 'empty/notes.txt',
                  'cat/deep/4.jpg', 'loose.jpg')
    (train / 'void').mkdir()
    found = list_labelled(train)
    assert found.classes == ('cat', 'cat b', 'dog')
    assert found.images.paths == ['cat/3.avif', 'cat/deep/4.jpg', 'cat b/2.JPG', 'dog/0.jpg',
                                  'dog/1.jpg']
    assert found.labels.tolist() == [0, 0, 1, 2, 2]
    text = found.images.describe()
    assert '5 images' in text and 'outside class folders 1' in text and '.txt 1' in text
    assert "folders without images are no classes: 'empty', 'void'" in text
    assert "sub-folders count to the class above: 'deep'" in text


def test_another_split_counts_in_the_same_classes(tmp_path):
    val = touch(tmp_path / 'val', 'dog/1.jpg', '.trash/1.jpg', 'zebra/1.jpg')
    found = list_labelled(val, ['cat', 'dog', 'eel', 'zebra'])
    assert found.labels.tolist() == [1, 3] and found.classes == ('cat', 'dog', 'eel', 'zebra')
    assert "no images of 2 of 4 classes: 'cat', 'eel'" in found.images.describe()


def test_unknown_classes_are_an_error_with_both_lists(tmp_path):
    val = touch(tmp_path / 'val', 'Cat/1.jpg', 'dog/1.jpg', 'yak/1.jpg')
    with pytest.raises(UserError) as caught:
        list_labelled(val, ['cat', 'dog'])
    assert str(caught.value) == (
        f"{str(val)!r} has 2 classes that the training set does not have: 'Cat', 'yak' ('Cat' is "
        "written 'cat' there). Its classes: 'Cat', 'dog', 'yak'; those of the training set: "
        "'cat', 'dog'")
    many = [f'c{i:03}' for i in range(500)]
    with pytest.raises(UserError, match=r"training set: 'c000', .*'c007', ... \(500 in all\)$"):
        list_labelled(val, many)


def test_accents_are_the_same_however_they_are_composed(tmp_path):
    name = 'Café über'
    train = touch(tmp_path / 'train', f'{unicodedata.normalize("NFD", name)}/1.jpg', 'Äpfel/1.jpg')
    classes = list_labelled(train).classes
    val = touch(tmp_path / 'val', f'{unicodedata.normalize("NFC", name)}/1.jpg')
    assert list_labelled(val, classes).labels.tolist() == [classes.index(
        unicodedata.normalize('NFD', name))]
    touch(train, f'{unicodedata.normalize("NFC", name)}/2.jpg')
    with pytest.raises(UserError, match='classes that are there twice'):
        list_labelled(train)


def test_classes_that_are_links(tmp_path):
    touch(tmp_path / 'far', 'one/a.jpg', 'two/b.jpg')
    (tmp_path / 'train').mkdir()
    for name in ('one', 'two'):
        (tmp_path / 'train' / name).symlink_to(tmp_path / 'far' / name)
    found = list_labelled(tmp_path / 'train')
    assert found.classes == ('one', 'two') and found.labels.tolist() == [0, 1]


def test_classes_one_level_deeper(tmp_path):
    touch(tmp_path, 'train/images/cat/1.jpg', 'train/images/dog/1.jpg')
    with pytest.raises(UserError, match="one class folder, 'images', with the folders 'cat', "
                                        f"'dog' .* give '{tmp_path}/train/images'"):
        list_labelled(tmp_path / 'train')


def test_no_class_folders(tmp_path):
    touch(tmp_path, '1.jpg', '2.jpg')
    with pytest.raises(NoImages, match='no class folders with images .* outside class folders 2'):
        list_labelled(tmp_path)


@pytest.mark.parametrize('there, asked, found', [
    (['train', 'val'], 'val', 'val'), (['valid'], 'val', 'valid'), (['Validation'], 'val',
                                                                    'Validation'),
    (['test'], 'val', 'test'), (['test', 'valid'], 'val', 'valid'), (['val'], 'test', 'val'),
    (['testing'], 'test', 'testing'), (['TRAIN'], 'train', 'TRAIN'), (['training'], 'train',
                                                                      'training'),
    (['val', 'Val'], 'Val', 'Val'), (['holdout'], 'holdout', 'holdout'), (['holdout'], 'val', None),
    (['train'], 'val', None), (['val', 'val2'], 'val2', 'val2')])
def test_splits_under_their_usual_names(tmp_path, there, asked, found):
    for name in there:
        (tmp_path / name).mkdir()
    assert find_split(tmp_path, asked) == (tmp_path / found if found else None)
    for name in there:
        (tmp_path / 'images' / name).mkdir(parents=True)
    assert find_split(tmp_path, f'images/{asked}') == (
        tmp_path / 'images' / found if found else None)


def test_a_split_that_is_not_there(tmp_path):
    touch(tmp_path, 'train/a/1.jpg', 'holdout/a/1.jpg', '.git/x')
    with pytest.raises(NoImages, match="no folder for the split 'val': expected one of val, valid, "
                                       ".*, test, testing .*, found 'holdout', 'train'"):
        settle_split(tmp_path, 'val')
    assert settle_split(tmp_path, 'holdout') == tmp_path / 'holdout'
    assert settle_split(tmp_path, '') == tmp_path


def test_links_that_lead_to_themselves(tmp_path):
    touch(tmp_path, 'train/a/1.jpg', 'val/a/1.jpg')
    for folder in (tmp_path, tmp_path / 'train'):
        (folder / 'loop').symlink_to(folder / 'loop')
        (folder / 'up').symlink_to(folder)
    assert find_split(tmp_path, 'test') == tmp_path / 'val'
    assert pretraining_folder(tmp_path)[0] == tmp_path / 'train'
    assert list_labelled(tmp_path / 'train').classes == ('a', )
