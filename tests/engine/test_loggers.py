"""``--log``: which backends a config has afterwards, and in which order."""
import sys

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend, Visualizer

from mmwamim.engine.config import loggers as module
from mmwamim.engine.config.loggers import loggers, settle_loggers, start_loggers
from mmwamim.engine.config.reading import type_name
from mmwamim.errors import UserError
from tests.support.commands import ROOT

LOCAL, BOARD, WANDB = 'LocalVisBackend', 'TensorboardVisBackend', 'WandbVisBackend'


def settled(visualizer, names):
    cfg = Config(dict(visualizer=visualizer)) if visualizer is not None else Config()
    settle_loggers(cfg, names)
    return cfg.visualizer


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(module, '_is_installed', lambda library: library != 'mlflow')


def test_all_of_mmengine_are_known():
    assert {name.lower() + 'visbackend' for name in loggers()} == {
        name.lower() for name in VISBACKENDS.module_dict} - {'localvisbackend'}
    assert {'tensorboard', 'wandb', 'mlflow'} < set(loggers())


@pytest.mark.parametrize('visualizer, kind', [
    (None, 'Visualizer'), (dict(type='DetLocalVisualizer', name='x'), 'DetLocalVisualizer'),
    (dict(type='A', vis_backends=[dict(type=LOCAL)]), 'A'),
    (dict(type='A', vis_backends=dict(type=LOCAL)), 'A'),
    (dict(type=Visualizer, vis_backends=[dict(type=LocalVisBackend)]), 'Visualizer'),
    (dict(type='A', vis_backends=[dict(type='mmengine.LocalVisBackend', save_dir='y')]), 'A')])
def test_the_local_one_stays_first(visualizer, kind, installed):
    found = settled(visualizer, ['wandb', 'TensorBoard', 'wandb', 'local'])
    assert type_name(found) == kind
    assert [type_name(one) for one in found.vis_backends] == [LOCAL, WANDB, BOARD]
    if visualizer:
        assert all(found[name] == value for name, value in visualizer.items()
                   if name not in ('type', 'vis_backends'))


def test_what_is_there_stays_and_local_moves_to_the_front(installed):
    backends = [dict(type=TensorboardVisBackend, save_dir='x'), dict(type=LOCAL)]
    found = settled(dict(type='A', vis_backends=backends), 'tensorboard')
    assert [type_name(one) for one in found.vis_backends] == [LOCAL, BOARD]
    assert found.vis_backends[1].save_dir == 'x'
    assert settled(dict(type='A', vis_backends=backends), None).vis_backends == backends


@pytest.mark.parametrize('config', ['wamim/vit_s_100e', 'classification/vit_s_ft_200e',
                                    'detection/mask_rcnn_vit_b_sfp_3x_coco',
                                    'segmentation/upernet_vit_b_160k_ade20k_512x512'])
def test_our_configs(config, installed):
    cfg = Config.fromfile(ROOT / f'configs/{config}.py')
    before = cfg.visualizer.type
    settle_loggers(cfg, ['tensorboard'])
    assert [one.type for one in cfg.visualizer.vis_backends] == [LOCAL, BOARD]
    assert cfg.visualizer.type == before


def test_what_is_unknown_or_missing_is_one_line(installed):
    with pytest.raises(UserError, match="^log: there is no logger 'wand'; there are aim, .*, "
                                        'tensorboard, wandb$'):
        settled(None, ['wand'])
    with pytest.raises(UserError, match='^log=.mlflow. needs mlflow, which is not installed: '
                                        'pip install mlflow$'):
        settled(None, ['tensorboard', 'mlflow'])


def test_a_folder_of_logs_is_no_library(tmp_path, monkeypatch):
    (tmp_path / 'neptune').mkdir()  # as ./wandb and ./neptune are
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'neptune', raising=False)
    assert not module._is_installed('neptune') and module._is_installed('json')


IMAGE = np.full((4, 6, 3), 200, dtype=np.uint8)


def test_tensorboard_reads_what_a_run_writes(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    backend = VISBACKENDS.build(dict(type=BOARD, save_dir=str(tmp_path)))
    for step, loss in ((1, 2.5), (2, 1.25)):
        backend.add_scalars(dict(loss=loss, explained_level1=-0.5, lr=1e-3), step=step)
    backend.add_image('reconstruction', IMAGE, step=2)
    backend.close()
    read = EventAccumulator(str(tmp_path)).Reload()
    assert [(one.step, one.value) for one in read.Scalars('loss')] == [(1, 2.5), (2, 1.25)]
    assert read.Scalars('explained_level1')[0].value == -0.5
    picture, = read.Images('reconstruction')
    assert (picture.step, picture.width, picture.height) == (2, 6, 4)


@pytest.mark.parametrize('given', [False, True])
def test_mlflow_reads_what_a_run_writes(given, tmp_path, monkeypatch):
    mlflow = pytest.importorskip('mlflow')
    place = f'sqlite:///{tmp_path}/elsewhere.db'
    monkeypatch.chdir(tmp_path)  # a data base's files go beside it
    monkeypatch.delenv('MLFLOW_TRACKING_URI', raising=False)
    if given:
        monkeypatch.setenv('MLFLOW_TRACKING_URI', place)
    found = settled(None, 'mlflow').vis_backends[1]
    backend = VISBACKENDS.build(dict(found, save_dir=str(tmp_path / 'vis_data')))
    backend.add_config(Config(dict(work_dir=str(tmp_path / 'run'), lr=0.5)))
    (tmp_path / 'run').mkdir()
    for step, loss in ((1, 2.5), (2, 1.25)):
        backend.add_scalars(dict(loss=loss), step=step)
    backend.add_image('reconstruction', IMAGE, step=2)
    backend.close()
    client = mlflow.MlflowClient(
        place if given else f'sqlite:///{tmp_path}/vis_data/mlflow.db')
    run, = client.search_runs([one.experiment_id for one in client.search_experiments()])
    history = client.get_metric_history(run.info.run_id, 'loss')
    assert [(one.step, one.value) for one in history] == [(1, 2.5), (2, 1.25)]
    assert run.data.params['lr'] == '0.5'
    assert 'reconstruction_2.png' in {
        one.path for one in client.list_artifacts(run.info.run_id)}


class AwayVisBackend(LocalVisBackend):
    """Of a server that is not there."""

    @property
    def experiment(self):
        raise ConnectionError('nobody listens at port 5000\nand much more')


def test_a_logger_that_cannot_start_is_one_line(tmp_path):
    here, away = (Visualizer(vis_backends=[dict(type=kind)], save_dir=str(tmp_path))
                  for kind in (LocalVisBackend, AwayVisBackend))
    start_loggers(here)
    with pytest.raises(UserError) as error:
        start_loggers(away)
    assert str(error.value) == ('the logger away (log, or visualizer.vis_backends) cannot start: '
                                'nobody listens at port 5000')
