"""What a classification recipe takes over from an encoder."""
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from PIL import Image

from mmwamim.commands.fields import merge
from mmwamim.commands.recipes import encoder_fields
from mmwamim.engine.config.loaders import LOADERS
from mmwamim.registry import MODELS
from tests.support.commands import ROOT
from tests.support.models import TINY


@pytest.mark.parametrize('recipe', ['vit_s_ft_200e', 'vit_s_linear_90e'])
@pytest.mark.parametrize('size', [(16, 32), (32, 16), 32])
def test_its_pictures_have_the_size_of_the_encoder(recipe, size, tmp_path):
    source = Config(dict(model=dict(backbone=dict(
        type='mmwamim.MaskedViT', arch=TINY, img_size=size, patch_size=8, out_indices=(1, )))))
    encoder = MODELS.build(dict(source.model.backbone))
    cfg = Config.fromfile(ROOT / f'configs/classification/{recipe}.py')
    merge(cfg, encoder_fields(cfg, encoder, source))
    for height, width in ((60, 40), (40, 90)):
        picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / 'x.png')
        for loader in LOADERS:
            with DefaultScope.overwrite_default_scope('mmpretrain'):
                pipeline = Compose(cfg[loader].dataset.pipeline)
            found = pipeline(dict(img_path=str(tmp_path / 'x.png'), gt_label=0))['inputs']
            assert found.shape == (3, *(size if isinstance(size, tuple) else (size, size)))
