"""A hundred and more generated mistakes, each refused with the name of the field."""
import pytest
from mmengine.config import Config

from mmwamim.engine.config.check import accepted_fields, check_config
from mmwamim.engine.config.reading import read_config
from mmwamim.errors import UserError
from mmwamim.models import MaskedViT, SparseSwin
from tests.support.commands import ROOT

ALL = sorted(str(p.relative_to(ROOT)) for p in (ROOT / 'configs').glob('[!_]*/**/*.py'))
PARTS = [  # places of the config whose fields are checked
    'model', 'model.backbone', 'model.neck', 'model.target_generator', 'model.head',
    'train_dataloader', 'train_dataloader.dataset', 'train_dataloader.sampler', 'train_cfg']


def spoil(name: str) -> list:
    """Misspellings: a letter lost, two exchanged, one too many."""
    middle = len(name) // 2
    return [name[:middle] + name[middle + 1:],
            name[:middle - 1] + name[middle] + name[middle - 1] + name[middle + 1:], name + 's']


def mistakes() -> list:
    found = []
    for path in ('configs/wamim/vit_b_400e.py', 'configs/wamim/swin_b_100e.py'):
        cfg = Config.fromfile(ROOT / path)
        for place in PARTS:
            part = cfg
            for step in place.split('.'):
                part = part[step]
            for name in part:
                if name in ('type', 'init_cfg', 'collate_fn') or len(name) < 3:
                    continue
                found += [(path, place, name, wrong) for wrong in spoil(name)
                          if wrong not in part and wrong != name]
    return found


@pytest.mark.parametrize('path', ALL)
def test_no_config_of_ours_is_refused(path):
    check_config(Config.fromfile(ROOT / path))


def test_a_hundred_misspelt_fields_are_named():
    wrongs = mistakes()
    assert len(wrongs) >= 100
    configs = {path: Config.fromfile(ROOT / path) for path, *_ in wrongs}
    unnamed, unhelped = [], 0
    for path, place, name, wrong in wrongs:
        cfg = Config(configs[path]._cfg_dict.to_dict())
        part = cfg
        for step in place.split('.'):
            part = part[step]
        part[wrong] = part.pop(name)
        try:
            check_config(cfg)
            unnamed.append((place, wrong))
        except UserError as error:
            if f'{place}.{wrong}:' not in str(error):
                unnamed.append((place, wrong, str(error)))
            unhelped += f'did you mean {name!r}' not in str(error)
    assert unnamed == []
    assert unhelped <= len(wrongs) // 50  # the nearest spelling is nearly always the right one


@pytest.mark.parametrize('place, value, message', [
    ('model.type', 'mmwamim.WaMIN', "did you mean 'mmwamim.WaMIM'"),
    ('model.backbone.type', 'mmwamim.MaskedVit', "did you mean 'mmwamim.MaskedViT'"),
    ('custom_hooks.0.type', 'mmwamim.RunSumaryHook', "did you mean 'mmwamim.RunSummaryHook'")])
def test_misspelt_types_are_named(place, value, message):
    cfg = Config.fromfile(ROOT / 'configs/wamim/vit_b_400e.py')
    cfg.merge_from_dict({place: value}, allow_list_keys=True)
    with pytest.raises(UserError, match=f'{place}: there is no .*{message}'):
        check_config(cfg)


def test_fields_of_parents_are_known():
    assert {'out_indices', 'drop_path_rate', 'with_cls_token'} <= accepted_fields(MaskedViT)
    assert {'window_size', 'frozen_stages', 'use_abs_pos_embed'} <= accepted_fields(SparseSwin)
    assert 'drop_path' not in accepted_fields(MaskedViT)


@pytest.mark.parametrize('files, message', [
    ({'a.py': "_base_ = './b.py'", 'b.py': "_base_ = ['./c.py']", 'c.py': "_base_ = './a.py'"},
     "_base_ in .*c.py names '.*a.py', which is built on .*c.py itself"),
    ({'a.py': "_base_ = 'a.py'"}, "_base_ in .*a.py names '.*a.py', which is built on"),
    ({'a.py': "_base_ = './b.py'", 'b.py': "_base_ = './no.py'"},
     "_base_ in .*b.py: there is no config '.*no.py'"),
    ({'a.py': '_base_ = 3'}, '_base_ in .*a.py must be a path or a list of paths, not 3'),
    ({'a.py': "_base_ = './b.py'", 'b.py': 'x = dict(\n  a=1,,)'},
     'b.py cannot be read as a config: SyntaxError: .*, line 2'),
    ({'a.py': '1 / 0'}, 'a.py cannot be read as a config: ZeroDivisionError')])
def test_broken_files_below_a_config_are_named_at_once(files, message, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(f'{text}\n')
    with pytest.raises(UserError, match=message) as caught:
        read_config(tmp_path / 'a.py')
    assert '\n' not in str(caught.value)


def test_bases_that_meet_again_and_variables_are_no_circle(tmp_path, monkeypatch):
    monkeypatch.setenv('WIDTH', '7')
    for name, text in (('d', 'd = 4'), ('b', "_base_ = './d.py'\nb = 2"),
                       ('c', "_base_ = './e.py'\nc = 3"), ('e', "e = '{{$WIDTH:1}}'")):
        (tmp_path / f'{name}.py').write_text(f'{text}\n')
    (tmp_path / 'a.py').write_text("_base_ = ['./b.py', './c.py']\n")
    cfg = read_config(tmp_path / 'a.py')
    assert (cfg.b, cfg.c, cfg.d, cfg.e) == (2, 3, 4, '7')
