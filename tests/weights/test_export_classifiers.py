"""Fine-tuned classifiers leave for timm with norm and head: mmpretrain computes the same."""
import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

import mmwamim
from mmwamim.errors import UserError
from mmwamim.registry import MODELS
from tests.support.models import noise, shake

VIT = dict(type='mmpretrain.VisionTransformer', img_size=32, patch_size=8, arch=dict(
    embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64))
TUNED = dict(VIT, out_type='avg_featmap', final_norm=False)  # as in configs/classification
SWIN = dict(type='mmpretrain.SwinTransformer', img_size=32, window_size=4, arch=dict(
    embed_dims=8, depths=[1, 2], num_heads=[1, 2]), out_indices=(1, ))
GAP, NORM = dict(type='mmpretrain.GlobalAveragePooling'), dict(
    type='mmpretrain.ClsBatchNormNeck', input_features=32)


def saved(path, backbone, neck=None, head=None, **fields):
    """A classifier of five classes in eval mode, and its checkpoint."""
    torch.manual_seed(0)
    head = dict(dict(type='mmpretrain.LinearClsHead', num_classes=5, in_channels=32 if
                     'img_size' in backbone and 'window_size' not in backbone else 16),
                **(head or {}))
    model = dict(type='mmpretrain.ImageClassifier', backbone=backbone, neck=neck, head=head)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        classifier = shake(MODELS.build(Config(dict(model=model)).model), 0.1)
    if neck is not None and 'BatchNorm' in neck['type']:
        classifier.neck.bn.running_mean += torch.randn(32)
        classifier.neck.bn.running_var *= 1 + torch.rand(32)
    torch.save(dict(meta=dict(config=Config(dict(model=model, **fields)).pretty_text),
                    state_dict=classifier.state_dict()), path)
    classifier.eval()  # of a ViT gives nothing back
    return classifier


def without_head(path):
    whole = torch.load(path)
    torch.save(dict(whole, state_dict={name: value for name, value in whole['state_dict'].items()
                                       if name.startswith('backbone.')}), path)


def to_timm(path, out):
    done = mmwamim.export(path, 'timm', out)
    return eval(done.how_to_load, dict(timm=timm)).eval(), done


@pytest.mark.parametrize('backbone, neck, head', [
    (TUNED, None, {}), (TUNED, NORM, {}), (TUNED, dict(NORM, affine=True, eps=1e-2), {}),
    (dict(TUNED, with_cls_token=False), None, {}),
    (dict(TUNED, layer_scale_init_value=0.5, pre_norm=True), None, {}),
    (VIT, None, {}), (VIT, None, dict(type='mmpretrain.VisionTransformerClsHead')),
    (dict(VIT, out_type='featmap'), GAP, {}), (dict(VIT, final_norm=False), None, {}),
    (SWIN, GAP, {})])
def test_timm_gives_the_same_logits_and_features(backbone, neck, head, tmp_path):
    classifier = saved(tmp_path / 'epoch_1.pth', backbone, neck, head)
    network, _ = to_timm(tmp_path / 'epoch_1.pth', tmp_path / 'x.safetensors')
    images = noise(3, 3, 32, 32)
    with torch.no_grad():
        expected = classifier.head(classifier.extract_feat(images))
        assert expected.shape == (3, 5) and expected.std(0).min() > 1e-3
        torch.testing.assert_close(network(images), expected, rtol=0, atol=1e-5)
        encoder = mmwamim.load_encoder(tmp_path / 'epoch_1.pth')
        network.reset_classifier(0)
        torch.testing.assert_close(network(images), encoder(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize('head', [None, dict(type='mmpretrain.VisionTransformerClsHead',
                                             hidden_dim=8)])
def test_without_a_linear_head_timm_gives_the_features_of_the_encoder(head, tmp_path):
    path = tmp_path / 'epoch_1.pth'
    saved(path, TUNED, head=head)
    if head is None:  # as encoder.pth of others
        without_head(path)
    network, done = to_timm(path, tmp_path / 'x.pth')
    images = noise(3, 3, 32, 32)
    assert 'num_classes=0' in done.how_to_load
    with torch.no_grad():
        torch.testing.assert_close(network(images), mmwamim.load_encoder(path)(images), rtol=0,
                                   atol=1e-5)


def test_a_pretrained_vit_is_pooled_in_timm_as_by_the_encoder(tmp_path):
    """timm's default is the class token, which no loss of this package has trained."""
    path = tmp_path / 'encoder.pth'
    saved(path, dict(VIT, type='mmwamim.MaskedViT', out_indices=(0, 1), out_type='raw'))
    without_head(path)
    network, _ = to_timm(path, tmp_path / 'x.pth')
    images = noise(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(images), mmwamim.load_encoder(path)(images), rtol=0,
                                   atol=1e-5)


@pytest.mark.parametrize('changes, words', [
    (dict(final_norm=True), 'has one norm at its end, and this one has two'),
    (dict(norm_cfg=dict(type='LN', eps=1e-3)), 'norms with eps=1e-06 and this encoder with 0.001')])
def test_what_timm_cannot_compute_is_told(changes, words, tmp_path):
    saved(tmp_path / 'epoch_1.pth', dict(TUNED, **changes))
    with pytest.raises(UserError, match=words):
        mmwamim.export(tmp_path / 'epoch_1.pth', 'timm', tmp_path / 'x.pth')
