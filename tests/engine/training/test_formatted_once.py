"""The text of a config is formatted once a run, and is what MMEngine writes."""
import copy

import yapf.yapflib.yapf_api
from mmengine.config import Config

from mmwamim.engine.training import runner
from mmwamim.engine.training.runner import FormattedOnce
from tests.support.commands import ROOT
from tests.support.runs import PRETRAIN, train
from tests.support.small_data import make_imagenet


def counted(monkeypatch):
    formatted, formatting = [], yapf.yapflib.yapf_api.FormatCode
    monkeypatch.setattr(yapf.yapflib.yapf_api, 'FormatCode',
                        lambda text, **style: formatted.append(text) or formatting(text, **style))
    FormattedOnce._texts.clear()
    return formatted


def test_the_same_text_for_less_and_another_after_a_change(monkeypatch, tmp_path):
    cfg = Config.fromfile(ROOT / 'configs/classification/vit_s_ft_200e.py')
    formatted = counted(monkeypatch)
    expected, view = cfg.pretty_text, FormattedOnce.of(cfg)
    assert [view.pretty_text, copy.deepcopy(view).pretty_text] == [expected] * 2
    assert len(formatted) == 2  # MMEngine's and ours
    view.dump(tmp_path / 'config.py')
    assert (tmp_path / 'config.py').read_text() == expected and len(formatted) == 2
    view.model.head.num_classes = 7
    assert 'num_classes=7' in view.pretty_text and view.pretty_text == cfg.pretty_text
    assert view.filename == cfg.filename and view.text == cfg.text
    for number in range(9):
        view.model.head.num_classes = number
        assert f'num_classes={number}' in view.pretty_text
    assert len(view._texts) <= 4


def test_a_run_formats_it_once(monkeypatch, tmp_path):
    data = make_imagenet(tmp_path / 'data')
    formatted = counted(monkeypatch)
    run = train(PRETRAIN, data, tmp_path / 'run', '--epochs', '3', '--batch-size', '2',
                   fields=['default_hooks.checkpoint.interval=1'])
    assert run.epoch == 3 and len(formatted) == 1


def test_the_first_process_of_a_run_alone_formats_it(monkeypatch):
    cfg = Config.fromfile(ROOT / 'configs/classification/vit_s_ft_200e.py')
    formatted = counted(monkeypatch)
    monkeypatch.setattr(runner, 'is_main_process', lambda: False)
    text = FormattedOnce.of(cfg).pretty_text
    assert not formatted and Config.fromstring(text, '.py').to_dict() == cfg.to_dict()
