"""Features are those that a classifier or a loss was trained on: class token or mean."""
import inspect

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

import mmwamim
from mmwamim.errors import UserError
from mmwamim.registry import MODELS
from tests.support.models import TINY, noise, shake
from tests.support.small_data import make_classes

VIT = dict(type='mmpretrain.VisionTransformer', arch=TINY, img_size=32, patch_size=8)
TOKEN, MEAN = dict(VIT), dict(VIT, out_type='avg_featmap', final_norm=False)  # mmpretrain's default
MOCO, MAE, BEIT, MASKFEAT = (dict(VIT, type=f'mmpretrain.{name}') for name in (
    'MoCoV3ViT', 'MAEViT', 'BEiTPretrainViT', 'MaskFeatViT'))
IBOT = dict(type='mmwamim.IBOT')
WAMIM = dict(VIT, type='mmwamim.MaskedViT', out_indices=(1, 3))


def save(path, backbone, **model):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        encoder = shake(MODELS.build(dict(backbone)), 0.1)
    model = dict(dict(type='mmpretrain.ImageClassifier', backbone=backbone), **model)
    cfg = Config(dict(model=model))
    torch.save(dict(meta=dict(config=cfg.pretty_text), state_dict={
        f'backbone.{name}': value for name, value in encoder.state_dict().items()}), path)
    encoder.eval()
    return encoder


def by_hand(encoder, images, token):
    """The last layer's tokens, pooled."""
    encoder.out_type = 'raw'
    more = dict(mask=None) if 'mask' in inspect.signature(encoder.forward).parameters else {}
    with torch.no_grad():
        tokens = encoder(images, **more)[-1]
        pooled = tokens[:, 0] if token else tokens[:, 1:].mean(1)
        patches = tokens[:, 1:].transpose(1, 2).unflatten(2, (-1, images.shape[3] // 8))
        return encoder.ln2(pooled) if hasattr(encoder, 'ln2') else pooled, patches


@pytest.mark.parametrize('backbone, model, token', [
    (TOKEN, {}, True), (MEAN, {}, False), (MOCO, {}, True), (MAE, {}, False), (BEIT, {}, False),
    (MASKFEAT, IBOT, True), (MASKFEAT, dict(type='mmpretrain.MaskFeat'), False),
    (dict(BEIT, out_type='avg_featmap', type='mmpretrain.BEiTViT', final_norm=False), {}, False),
    (dict(TOKEN, out_indices=(1, 3)), {}, True), (WAMIM, dict(target_generator={}), False)])
def test_it_follows_the_training_or_what_is_asked_for(backbone, model, token, tmp_path):
    encoder = save(tmp_path / 'a.pth', backbone, **model)
    images = noise(2, 3, 32, 48) if 'BEiT' not in backbone['type'] else noise(2, 3, 32, 32)
    for pool, of_token in ((None, token), ('token', True), ('mean', False)):
        loaded = mmwamim.load_encoder(tmp_path / 'a.pth', pool=pool)
        pooled, patches = by_hand(encoder, images, of_token)
        torch.testing.assert_close(loaded(images), pooled, rtol=0, atol=1e-5)
        torch.testing.assert_close(loaded.features(images)[-1], patches, rtol=0, atol=1e-5)
    token, mean = (mmwamim.load_encoder(tmp_path / 'a.pth', pool=pool)(images)
                   for pool in ('token', 'mean'))
    assert (token - mean).abs().mean() > 0.1


@pytest.mark.parametrize('backbone, model', [(TOKEN, {}), (MASKFEAT, IBOT)])
def test_files_give_what_pictures_give_and_the_probe_sees_the_same(backbone, model, tmp_path):
    save(tmp_path / 'a.pth', backbone, **model)
    data = make_classes(tmp_path / 'data')
    found = {pool: mmwamim.embed(tmp_path / 'a.pth', data / 'train', pool=pool, workers=0).features
             for pool in (None, 'token', 'mean')}
    encoder = mmwamim.load_encoder(tmp_path / 'a.pth')
    assert (found[None] == found['token']).all() and abs(found['mean'] - found[None]).max() > 0.1
    torch.testing.assert_close(*map(torch.as_tensor, (
        found[None], encoder.embed(data / 'train'))), rtol=0, atol=1e-5)
    probed = mmwamim.probe(tmp_path / 'a.pth', data, linear=False, k=[1], workers=0)
    centred = torch.linalg.svdvals(torch.from_numpy(found[None] - found[None].mean(0)).double())
    share = centred / centred.sum()
    entropy = -(share[share > 0] * share[share > 0].log()).sum()
    assert probed['effective_rank'] == pytest.approx(float(entropy.exp()), abs=0.02)


def test_what_cannot_be_pooled_is_told(tmp_path):
    save(tmp_path / 'a.pth', dict(MEAN, with_cls_token=False))
    with pytest.raises(UserError, match='pool: this VisionTransformer has no class token'):
        mmwamim.load_encoder(tmp_path / 'a.pth', pool='token')
    with pytest.raises(UserError, match="pool must be 'mean' or 'token', not 'max'"):
        mmwamim.embed(tmp_path / 'a.pth', 'nowhere', pool='max')
