"""KEY=VALUE words: MMEngine's reading of values; dicts are read as JSON or Python, and merged."""
import copy

import pytest
from mmengine.config import Config, DictAction

from mmwamim.commands.fields import parse_fields
from mmwamim.engine.config.options import merge_options, read_value
from mmwamim.errors import UserError

ARCH = {'embed_dims': 32, 'num_layers': 4}


@pytest.mark.parametrize('text, value', [
    ('{"embed_dims": 32, "num_layers": 4}', ARCH), ("{'embed_dims':32,'num_layers':4}", ARCH),
    ('dict(embed_dims=32, num_layers=4)', ARCH), ('"{\'embed_dims\':32,\'num_layers\':4}"', ARCH),
    ('{"a": true, "b": null, "c": [1, {"d": 2}]}', {'a': True, 'b': None, 'c': [1, {'d': 2}]}),
    ('[dict(type="A"), {"type": "B"}]', [{'type': 'A'}, {'type': 'B'}]),
    ('(dict(a=-1.5), )', ({'a': -1.5}, )), ('{}', {}), ('"{no dict}"', '{no dict}')])
def test_dicts_are_read(text, value):
    assert read_value('model.backbone.arch', text) == value
    assert parse_fields([f'model.backbone.arch={text}']) == {'model.backbone.arch': value}


@pytest.mark.parametrize('text', [
    '1', '1e-3', 'True', 'None', 'cat', '1,2', '(0,1)', '[a,b]', '[(1,2),[a,b],c]', 'a=b', '',
    '"x"', '../a b/c.pth'])
def test_all_else_is_read_as_before(text):
    assert read_value('x', text) == DictAction._parse_iterable(text)


@pytest.mark.parametrize('text', [
    '{"a": 1', 'dict(a=1, b', '{a: 1}', 'dict(a=__import__("os").getcwd())', 'open(a,b)', '[1,(2]',
    "{'a': print(1)}"])
def test_what_cannot_be_read_is_one_line_and_runs_nothing(text):
    with pytest.raises(UserError, match='^model.x=.*cannot be read: ') as caught:
        read_value('model.x', text)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('options', [
    {'model.backbone.arch': ARCH}, {'model.backbone.arch.embed_dims': 32,
                                    'model.backbone.arch.num_layers': 4},
    {'model': {'backbone': {'arch': ARCH}}}])
@pytest.mark.parametrize('arch', ['base', None, 3])
def test_a_dict_replaces_what_is_none(options, arch):
    cfg = Config(dict(model=dict(backbone=dict(type='A', arch=arch, depth=2))))
    given = copy.deepcopy(options)
    merge_options(cfg, options)
    assert cfg.model == dict(backbone=dict(type='A', arch=ARCH, depth=2)) and options == given


def test_a_dict_is_merged_into_one_and_a_type_stays():
    cfg = Config(dict(a=dict(b=dict(c=1, d=2), e=[dict(f=1), 2])))
    merge_options(cfg, {'a.b': {'c': 3}, 'a.e.0.f': 5})
    assert cfg.a == dict(b=dict(c=3, d=2), e=[dict(f=5), 2])
    with pytest.raises(TypeError, match='type'):
        merge_options(Config(dict(type='A')), {'type.x': 1})
