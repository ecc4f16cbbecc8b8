"""Docstrings' examples that need files: run in one place, in the order of a user."""
import doctest
import importlib
import re
import shutil

import numpy as np
import PIL.Image
import pytest

import mmwamim
from tests.support.small_data import make_images

ORDER = ['mmwamim.pretrain', 'mmwamim.visualization.read_scalars',
         'mmwamim.visualization.draw_losses', 'mmwamim.engine.config.settle.settle',
         'mmwamim.engine.run.train', 'mmwamim.load_encoder', 'mmwamim.Encoder', 'mmwamim.embed',
         'mmwamim.probe', 'mmwamim.export', 'mmwamim.resize', 'mmwamim.statistics',
         'mmwamim.commands.check.check', 'mmwamim.commands.show.show',
         'mmwamim.datasets.images.UnlabelledImages', 'mmwamim.datasets.images.ClassFolders',
         'mmwamim.datasets.loading.LoadImage', 'mmwamim.datasets.channels.LoadChannels']


NUMBER = re.compile(r'\d+(\.\d+)?(e-?\d+)?')  # which need not be those of the example


@pytest.fixture(scope='module')
def place(pretrained, tmp_path_factory):
    place = tmp_path_factory.mktemp('place')
    make_images(place / 'photos', 8, 40)
    for split in ('train', 'val'):
        for name in ('cat', 'dog'):
            make_images(place / 'pets' / split / name, 3, 40)
    for name in ('cat', 'dog'):
        PIL.Image.fromarray(np.full((40, 40, 3), 99, np.uint8)).save(place / f'{name}.jpg')
    np.save(place / 'field.npy', np.zeros((40, 40, 4), np.float32))
    shutil.copy(pretrained.encoder, place / 'encoder.pth')
    return place


def test_calls_give_what_their_examples_say(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(mmwamim.commands, 'show', importlib.import_module('mmwamim.commands.show'),
                        raising=False)
    for name in ORDER:
        module, part = name.rsplit('.', 1)
        part = getattr(importlib.import_module(module), part)
        globs = {**vars(importlib.import_module(part.__module__)), 'mmwamim': mmwamim, 'PIL': PIL}
        for example in doctest.DocTestParser().get_examples(part.__doc__):
            source = example.source
            if name == 'mmwamim.pretrain':
                source = re.sub(r'epochs=\d+', 'epochs=1, batch_size=4, workers=0', source)
            if example.want:
                got = repr(eval(source, globs)).replace(str(place), '/home/me')
                assert NUMBER.sub('N', got) == NUMBER.sub('N', example.want.strip()), name
            else:
                exec(source, globs)
