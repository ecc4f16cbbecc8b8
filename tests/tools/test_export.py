import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from mmwamim.engine.export.programs import LastMap, load_encoder
from mmwamim.errors import UserError
from mmwamim.weights.transformers import to_transformers
from tests.support.commands import run_here
from tests.support.models import noise, save_encoder


@pytest.mark.parametrize('config, name', [
    ('configs/wamim/vit_s_100e.py', 'vit_small_patch16_224'),
    ('configs/wamim/vit_b_100e.py', 'vit_base_patch16_224'),
    ('configs/wamim/swin_b_100e.py', 'swin_base_patch4_window7_224')])
def test_timm_gives_the_same_features(config, name, tmp_path):
    save_encoder(tmp_path / 'encoder.pth', config)
    out = tmp_path / 'timm.safetensors'
    code, log = run_here('tools/export.py', tmp_path / 'encoder.pth', '--format', 'timm',
                         '--out', out)
    assert code == 0 and name in log, log
    model = timm.create_model(name, num_classes=0, checkpoint_path=str(out)).eval()
    model.load_state_dict(load_file(out), strict=True)
    images = noise(2, 3, 224, 224)
    with torch.no_grad():
        ours = load_encoder(tmp_path / 'encoder.pth')(images)[-1].flatten(2).transpose(1, 2)
        theirs = model.forward_features(images)
    theirs = theirs[:, 1:] if theirs.dim() == 3 else theirs.flatten(1, 2)
    assert ours.std() > 0.3
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize('config, changes', [
    ('configs/wamim/vit_s_100e.py', dict(out_indices=[0, 1, 2, 3], arch=dict(
        embed_dims=384, num_layers=4, num_heads=6, feedforward_channels=1536))),
    ('configs/wamim/swin_b_100e.py', dict(arch=dict(
        embed_dims=32, depths=[2, 1, 2, 1], num_heads=[1, 2, 4, 8])))])
def test_programs_give_the_same_features(config, changes, tmp_path):
    import onnxruntime
    save_encoder(tmp_path / 'encoder.pth', config, **changes)
    for form, suffix in (('torch', 'pt2'), ('onnx', 'onnx'), ('safetensors', 'safetensors')):
        code, log = run_here('tools/export.py', tmp_path / 'encoder.pth', '--format', form,
                             '--out', tmp_path / f'encoder.{suffix}')
        assert code == 0, log
    encoder = load_encoder(tmp_path / 'encoder.pth')
    for batch in (1, 3):
        images = noise(batch, 3, 224, 224)
        with torch.no_grad():
            expected = LastMap(encoder)(images)
        program = torch.export.load(tmp_path / 'encoder.pt2').module()
        torch.testing.assert_close(program(images), expected, rtol=0, atol=1e-4)
        session = onnxruntime.InferenceSession(str(tmp_path / 'encoder.onnx'))
        features, = session.run(None, dict(images=images.numpy()))
        np.testing.assert_allclose(features, expected.numpy(), rtol=0, atol=1e-4)
    state = load_file(tmp_path / 'encoder.safetensors')
    assert state.keys() == encoder.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in encoder.state_dict().items())


def test_what_cannot_be_exported_is_named(tmp_path):
    encoder = save_encoder(tmp_path / 'encoder.pth', 'configs/wamim/vit_s_100e.py',
                   layer_scale_init_value=0.1)
    with pytest.raises(UserError, match='ViTModel .* no layer_scale_init_value'):
        to_transformers(encoder, 224)
    tool = ('tools/export.py', tmp_path / 'encoder.pth', '--format')
    code, log = run_here(*tool, 'timm', '--out', tmp_path / 'x.onnx')
    assert code != 0 and 'must end with .safetensors or .pth' in log
    torch.save(dict(state_dict={'backbone.x': torch.ones(1)}), tmp_path / 'bare.pth')
    code, log = run_here('tools/export.py', tmp_path / 'bare.pth', '--format', 'timm', '--out',
                         tmp_path / 'x.pth')
    assert code != 0 and 'give it with --config' in log
