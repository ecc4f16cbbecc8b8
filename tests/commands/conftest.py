"""One tiny run that every test of the commands looks at."""
import copy

import pytest

import mmwamim
from tests.support.small_data import make_images

# Steps of milliseconds; images of 32 pixels.
SMALL = {'model.backbone.arch': dict(_delete_=True, embed_dims=32, num_layers=4, num_heads=2,
                                     feedforward_channels=64),
         'model.backbone.out_indices': (0, 1, 2, 3), 'model.neck.embed_dims': 32,
         'model.neck.num_heads': 2, 'default_hooks.logger.interval': 1}


@pytest.fixture(scope='session')
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp('pictures') / 'noise', 12, 40)


@pytest.fixture(scope='session')
def pretrained(images, tmp_path_factory):
    """What ``mmwamim.pretrain`` returns."""
    return mmwamim.pretrain(data=images, arch='vit_tiny', epochs=2, workers=0, batch_size=4,
                            out=tmp_path_factory.mktemp('runs') / 'first',
                            **copy.deepcopy(SMALL))
