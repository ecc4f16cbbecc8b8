"""transformers and timm load what is exported, of any shape, and compute the same features."""
import re

import pytest
import timm
import torch

from mmwamim.engine.export.programs import load_encoder
from tests.support.commands import run_here
from tests.support.models import noise, save_encoder

TINY_SWIN = dict(arch=dict(embed_dims=32, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8]))


def tokens(path, images):
    """(B, N, C): the last feature map of our encoder."""
    with torch.no_grad():
        return load_encoder(path)(images)[-1].flatten(2).transpose(1, 2)


def export(path, form, out, *options):
    code, log = run_here('tools/export.py', path, '--to', form, '--out', out, *options)
    assert code == 0, log
    return log


@pytest.mark.parametrize('config, changes, size, extra', [
    ('configs/quickstart/vit_tiny_pretrain.py', {}, 64, 1),
    ('configs/wamim/swin_b_100e.py', TINY_SWIN, 224, 0)])
def test_transformers_gives_the_same_features(config, changes, size, extra, tmp_path):
    transformers = pytest.importorskip('transformers')
    save_encoder(tmp_path / 'encoder.pth', config, **changes)
    log = export(tmp_path / 'encoder.pth', 'transformers', tmp_path / 'hub', '--license',
                 'apache-2.0')
    call = re.search(r'transformers\.AutoModel.*\)', log)[0]  # as a user pastes it
    model, loading = eval(f'{call[:-1]}, output_loading_info=True)')
    assert not loading['missing_keys'] and not loading['unexpected_keys']
    images = noise(2, 3, size, size)
    with torch.no_grad():
        theirs = model.eval()(images).last_hidden_state[:, extra:]
    ours = tokens(tmp_path / 'encoder.pth', images)
    assert ours.std() > 0.3
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / 'hub')
    grey = torch.full((3, size, size), 128, dtype=torch.uint8)
    pixels = processor(grey, return_tensors='pt')['pixel_values']
    expected = torch.tensor([(128 - 123.675) / 58.395, (128 - 116.28) / 57.12,
                             (128 - 103.53) / 57.375])
    assert pixels.shape == (1, 3, size, size)
    torch.testing.assert_close(pixels.mean((0, 2, 3)), expected, rtol=0, atol=1e-4)
    card = (tmp_path / 'hub' / 'README.md').read_text()
    assert 'license: apache-2.0' in card and '--to transformers' in card


def test_timm_takes_the_encoder_of_the_quick_start(tmp_path):
    save_encoder(tmp_path / 'encoder.pth', 'configs/quickstart/vit_tiny_pretrain.py')
    log = export(tmp_path / 'encoder.pth', 'timm', tmp_path / 'timm.pth')
    call = re.search(r'timm\.create_model\(.*\)', log)[0]  # as a user pastes it
    images = noise(2, 3, 64, 64)
    with torch.no_grad():
        theirs = eval(call, dict(timm=timm)).eval().forward_features(images)[:, 1:]
    torch.testing.assert_close(tokens(tmp_path / 'encoder.pth', images), theirs, rtol=0, atol=1e-5)
    assert 'license: unknown' in (tmp_path / 'timm.pth.md').read_text()
