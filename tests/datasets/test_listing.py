import os

import pytest
from PIL import Image

from mmwamim.datasets import UnlabelledImages
from mmwamim.datasets.listing import (
    NoImages,
    counts,
    list_images,
    printable,
    readable_endings,
    shortened,
)


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')
    return root


def test_every_ending_that_pillow_reads_in_any_case(tmp_path):
    names = ['a.jpg', 'b.JPEG', 'c.Avif', 'd.jp2', 'e.GIF', 'f.jfif', 'g.jpe', 'h.TIFF', 'i.tga',
             'j.webp', 'k.apng', 'l.mpo', 'm.dib', 'n.qoi', 'o.pcx', 'p.PNM']
    touch(tmp_path, *names, 'x.txt', 'y.heic', 'z', 'w.pdf', 'v.mp4', 'u.eps', 't.H5', 's.txt')
    listing = list_images(tmp_path)
    assert listing.paths == sorted(names)
    assert listing.taken == {f'.{name.split(".")[1].lower()}': 1 for name in names}
    assert listing.left_out == {'.txt': 2, '.heic': 1, 'without ending': 1, '.pdf': 1, '.mp4': 1,
                                '.eps': 1, '.h5': 1}
    for ending in ('.avif', '.jp2', '.gif', '.jfif', '.png', '.bmp', '.ppm', '.tif'):
        assert ending in readable_endings()


def test_what_is_taken_can_be_read_back(tmp_path):
    """What Pillow writes under an ending of the list, the list takes and the reader reads."""
    from mmwamim.datasets.loading import read_rgb
    image = Image.linear_gradient('L').convert('RGB').resize((16, 16))
    written = []
    for ending in readable_endings():
        for mode in ('RGB', 'P', '1'):  # not every format stores every mode
            try:
                image.convert(mode).save(tmp_path / f'x{ending}')
            except (KeyError, OSError, ValueError):  # or not written at all
                continue
            written.append(f'x{ending}')
            break
    assert len(written) > 30
    assert list_images(tmp_path).paths == sorted(written)
    for path in written:
        assert read_rgb(tmp_path / path).shape[2] == 3, path


def test_hidden_files_waste_bins_and_thumbnails_are_left_out(tmp_path):
    touch(tmp_path, 'a.jpg', '._a.jpg', '.hidden.png', '.ipynb_checkpoints/a-checkpoint.jpg',
          '.Trash-1000/files/b.jpg', 'x/@eaDir/a.jpg/SYNOPHOTO_THUMB.jpg', '__MACOSX/a.jpg',
          'x/.thumbnails/c.jpg', '$RECYCLE.BIN/d.jpg', 'x/Thumbnails/e.jpg', 'trash/can.jpg')
    listing = list_images(tmp_path)
    assert listing.paths == ['a.jpg', 'trash/can.jpg']  # waste can be photographed
    assert listing.left_out == {'hidden': 2}
    text = listing.describe()
    assert text.startswith(f'2 images in {tmp_path}: .jpg 2; left out: hidden 2\n')
    for name in ("'$RECYCLE.BIN'", "'.Trash-1000'", "'.ipynb_checkpoints'", "'__MACOSX'",
                 "'x/.thumbnails'", "'x/@eaDir'", "'x/Thumbnails'"):
        assert name in text


def test_folders_with_the_ending_of_an_image_are_folders(tmp_path):
    touch(tmp_path, 'cat.jpg/1.png', 'cat.jpg/2.PNG')
    assert list_images(tmp_path).paths == ['cat.jpg/1.png', 'cat.jpg/2.PNG']


def test_links_are_followed_once_and_loops_are_named(tmp_path):
    root = touch(tmp_path / 'root', 'real/a.jpg', 'real/deep/b.jpg')
    touch(tmp_path / 'elsewhere', 'c.jpg')
    (root / 'far').symlink_to(tmp_path / 'elsewhere')
    (root / 'again').symlink_to(root / 'real')       # sorted before the real one
    (root / 'real/deep/up').symlink_to(root)         # a loop
    (root / 'real/above').symlink_to(tmp_path)       # a loop above the root
    (root / 'self').symlink_to(root / 'self')
    (root / 'gone.jpg').symlink_to(tmp_path / 'nowhere.jpg')
    (root / 'one.jpg').symlink_to(tmp_path / 'elsewhere/c.jpg')
    os.mkfifo(root / 'pipe.jpg')
    listing = list_images(root)
    assert listing.paths == ['far/c.jpg', 'one.jpg', 'real/a.jpg', 'real/deep/b.jpg']
    assert listing.left_out == {'broken links and devices': 3}
    text = listing.describe()
    assert f"the link 'again': {str(root / 'real')!r} is listed already" in text
    assert f"the link 'real/deep/up': it leads back to {str(root)!r}" in text
    assert f"the link 'real/above': it leads back to {str(tmp_path)!r}" in text


def test_folders_that_cannot_be_opened_are_named(tmp_path, monkeypatch):
    touch(tmp_path, 'a.jpg', 'closed/b.jpg')
    scan = os.scandir

    def refuse(path):
        if str(path).endswith('closed'):
            raise PermissionError(13, 'Permission denied')
        return scan(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    listing = list_images(tmp_path)
    assert listing.paths == ['a.jpg']
    assert "left out the folder 'closed': Permission denied" in listing.describe()


def test_names_that_no_terminal_prints(tmp_path):
    name = os.fsdecode(b'caf\xe9.jpg')
    touch(tmp_path, name, os.fsdecode(b'x.\xe9'))
    listing = list_images(tmp_path)
    assert listing.paths == [name]
    listing.describe().encode()
    assert printable(name) == 'caf\\udce9.jpg'


def test_endings_and_folders_of_ones_own(tmp_path):
    touch(tmp_path, 'a.jpg', 'b.tar.gz', 'c_rgb.png', 'c_depth.png', 'out/d.jpg')
    listing = list_images(tmp_path, ('.JPG', '_rgb.png', '.tar.gz'), without=[tmp_path / 'out'])
    assert listing.paths == ['a.jpg', 'b.tar.gz', 'c_rgb.png']
    assert listing.left_out == {'.png': 1}


def test_what_is_no_folder(tmp_path):
    touch(tmp_path, 'a.jpg')
    for path in (tmp_path / 'a.jpg', tmp_path / 'nowhere'):
        with pytest.raises(NoImages, match='is not a folder'):
            list_images(path)
    assert issubclass(NoImages, FileNotFoundError)


def test_words():
    assert counts({}) == 'none' and counts({'.b': 1, '.a': 1, '.c': 5}) == '.c 5, .a 1, .b 1'
    assert counts({f'.{i:02}': 1 for i in range(15)}).endswith('.11 1, 3 other kinds 3')
    assert shortened(['a', 'b']) == "'a', 'b'" and shortened([]) == 'none'
    assert shortened(list('abcdefghij'), 2) == "'a', 'b', ... (10 in all)"


def test_train_stands_for_a_split_only_beside_another(tmp_path):
    vehicles = touch(tmp_path / 'vehicles', *(f'{kind}/{i}.jpg' for kind in ('bus', 'car', 'train')
                                              for i in range(3)))
    images = UnlabelledImages(str(vehicles))
    assert len(images) == 9 and 'beside' not in images.description
    for name in ('val', 'Validation', 'test'):
        (vehicles / name).mkdir()
        images = UnlabelledImages(str(vehicles))
        assert len(images) == 3
        assert f"alone, since it lies beside the split {name!r}; left out: " in images.description
        assert "'bus', 'car'" in images.description
        (vehicles / name).rmdir()


def test_a_run_below_the_images_is_no_part_of_them(tmp_path):
    """``mmwamim pretrain .`` writes to ./work_dirs, which the next listing would come upon."""
    run = tmp_path / 'work_dirs/cats_vit_tiny'
    touch(tmp_path / 'cats', '0.png', '1.png', '2.png')
    touch(run, 'loss_curve.png', 'reconstruction.png', '20260101_000000/vis_data/vis_image/0.png')
    assert len(list_images(tmp_path).paths) == 5  # of a run that has no checkpoint yet
    (run / 'last_checkpoint').write_text('epoch_1.pth')
    listing = list_images(tmp_path)
    assert [path.split('/')[0] for path in listing.paths] == ['cats'] * 3
    assert "left out the folder 'work_dirs/cats_vit_tiny': it is the work directory of a run" in \
        listing.describe()
    assert len(list_images(run).paths) == 2  # asked for by name
