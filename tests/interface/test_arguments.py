"""Arguments of calls from Python: kinds of NumPy, torch and pathlib, and what is none."""
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, Optional, Sequence, Union

import numpy as np
import pytest
import torch
from mmengine.config import Config

import mmwamim
from mmwamim.engine.config.settle import RunOptions
from mmwamim.errors import UserError
from mmwamim.interface.arguments import plain, settled
from mmwamim.models.encoders import MaskedViT
from tests.support.models import TINY, save_encoder
from tests.support.small_data import make_images

COMMANDS = dict(check='check', compare='compare', doctor='examine', show='show')
CALLS = [*(getattr(mmwamim, name) for name in mmwamim.__all__
           if name not in ('Encoder', '__version__')),
         *(getattr(import_module(f'mmwamim.commands.{file}'), name)
           for file, name in COMMANDS.items())]
WHOLE = [np.int64(3), np.uint8(3), np.array(3), torch.tensor(3), torch.tensor(3, dtype=torch.uint8)]


@pytest.mark.parametrize('given', WHOLE, ids=repr)
def test_whole_numbers_of_other_libraries(given):
    for found in (settled('epochs', given, Optional[int]), plain(given),
                  RunOptions('a.py', epochs=given).epochs,
                  plain({'a': [(given, )]})['a'][0][0], *settled('k', (given, ), Sequence[int])):
        assert found == 3 and type(found) is int


def test_arguments_of_every_kind():
    values = np.array([1.5, 2])
    assert settled('k', np.array([10, 20]), Sequence[int]) == [10, 20]
    assert settled('range', values, Optional[Sequence[float]]) == [1.5, 2.]
    assert settled('score', np.float32(0.5), float) == 0.5 and settled('score', 1, float) == 1
    assert settled('linear', np.bool_(False), bool) is False
    assert settled('resume', 'a.pth', Union[bool, str, Path, None]) == 'a.pth'
    assert settled('data', b'photos', Union[str, Path]) == Path('photos')
    assert settled('more', values, Any) == [1.5, 2.]
    assert settled('out', None, Optional[Path]) is None
    assert plain(dict(a=Path('b'), c=torch.eye(2), d='e')) == dict(a='b', c=[[1, 0], [0, 1]], d='e')


@pytest.mark.parametrize('wrong', [True, 3., np.float32(3), np.bool_(True), torch.tensor(True),
                                   torch.tensor(3.), '3', [3]], ids=repr)
def test_what_is_no_whole_number_is_refused_in_one_line(wrong):
    with pytest.raises(UserError, match='^epochs must be an integer, not [^\n]*$'):
        mmwamim.pretrain('nowhere', epochs=wrong)
    with pytest.raises(UserError, match='^gpus must be an integer, not [^\n]*$'):
        mmwamim.finetune('nothing.pth', 'nowhere', gpus=wrong)


@pytest.mark.parametrize('call', CALLS, ids=lambda call: call.__qualname__)
def test_nothing_and_other_kinds_in_the_place_of_a_main_argument(call):
    everything = list(signature(call).parameters.values())
    needed = [one.name for one in everything
              if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
    for name in needed or [everything[0].name]:
        for wrong in (*[None] * bool(needed), 3, {}, [None]):
            given = {**dict.fromkeys(needed, 'nothing'), name: wrong}
            with pytest.raises(UserError, match=f'^{name} must be a (path|text).*, not '):
                call(**given)


def test_fields_of_a_config_can_be_written_down(tmp_path, monkeypatch):
    """Whatever library the numbers come from, and the run that is told of them."""
    module, told = import_module('mmwamim.commands.pretrain'), []
    monkeypatch.setattr(module, 'train', told.append)
    monkeypatch.setattr(module, 'result_of', lambda runner, draw: None)
    mmwamim.pretrain(
        make_images(tmp_path / 'images', 4), arch='vit_tiny', epochs=np.int64(2),
        batch_size=torch.tensor(2), workers=np.uint8(0), image_size=np.array(32),
        model=dict(mask_ratio=np.float64(0.6)),
        **{'randomness.seed': np.int64(7), 'optim_wrapper.optimizer.betas': np.array([.9, .95])})
    options, = told
    assert (options.epochs, options.batch_size) == (2, 2)
    fields = options.cfg_options
    assert fields['model.backbone.img_size'] == 32 and fields['model.mask_ratio'] == 0.6
    assert eval(repr(fields)) == fields and fields['randomness.seed'] == 7
    assert fields['optim_wrapper.optimizer.betas'] == [0.9, 0.95]
    text = Config({name.replace('.', '_'): value for name, value in fields.items()}).pretty_text
    assert 'np.' not in text and 'tensor' not in text


def test_parts_take_numbers_of_numpy(tmp_path):
    encoder = MaskedViT(arch=TINY, img_size=np.int64(32), patch_size=np.int64(8),
                        out_indices=np.int64(3))
    assert encoder.out_indices == [3] and encoder.mask_unit == 8
    save_encoder(tmp_path / 'encoder.pth', 'configs/quickstart/vit_tiny_pretrain.py')
    loaded = mmwamim.load_encoder(tmp_path / 'encoder.pth')
    found = loaded.embed(make_images(tmp_path / 'images', 3), batch_size=np.int64(2),
                         workers=torch.tensor(0))
    assert len(found) == 3
    with pytest.raises(UserError, match='batch_size must be an integer, not 2.0'):
        loaded.embed(tmp_path / 'images', batch_size=2.)
