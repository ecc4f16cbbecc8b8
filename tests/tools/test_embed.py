
import numpy as np
import torch
from mmpretrain.models import SelfSupDataPreprocessor
from PIL import Image

from mmwamim.engine.export.programs import load_encoder
from tests.support.commands import QUICK, run_here
from tests.support.models import save_encoder


def test_features_of_a_folder(tmp_path):
    save_encoder(tmp_path / 'encoder.pth', QUICK)
    folder = tmp_path / 'images'
    (folder / 'nested').mkdir(parents=True)
    rng = np.random.default_rng(0)
    pixels = {}
    for name in ('a.png', 'nested/b.png', 'z.png'):
        pixels[name] = rng.integers(0, 255, (73, 73, 3), dtype=np.uint8)
        Image.fromarray(pixels[name]).save(folder / name)
    (folder / 'broken.jpg').write_bytes(b'no image')
    out = tmp_path / 'features.npz'
    code, log = run_here('tools/embed.py', tmp_path / 'encoder.pth', folder, '--out', out,
                         '--batch-size', 2)
    assert code == 0 and '1 left out' in log and 'broken.jpg' in log, log
    written = np.load(out)
    assert sorted(written['paths'].tolist()) == sorted(pixels)
    assert written['features'].shape == (3, 128) and written['features'].dtype == np.float32

    # By hand: the image has the short side of the resize already, so only the crop is left.
    encoder = load_encoder(tmp_path / 'encoder.pth')
    normalise = SelfSupDataPreprocessor(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
    for name, features in zip(written['paths'], written['features'], strict=True):
        crop = torch.from_numpy(pixels[str(name)]).permute(2, 0, 1)[None, :, 4:68, 4:68]
        with torch.no_grad():
            expected = encoder(normalise(dict(inputs=crop, data_samples=None))['inputs'])[-1]
        np.testing.assert_allclose(features, expected.mean((2, 3))[0], rtol=0, atol=1e-4)


def test_mistakes_are_named(tmp_path):
    save_encoder(tmp_path / 'encoder.pth', QUICK)
    tool = ('tools/embed.py', tmp_path / 'encoder.pth')
    code, log = run_here(*tool, tmp_path / 'nowhere', '--out', tmp_path / 'x.npz')
    assert code != 0 and 'nowhere' in log.splitlines()[-1]
    code, log = run_here(*tool, tmp_path, '--out', tmp_path / 'x.txt')
    assert code != 0 and 'must end with .npz' in log
