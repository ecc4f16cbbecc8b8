import json
import sys

import pytest
import torch
from PIL import Image

from mmwamim.errors import UserError
from mmwamim.models import WaveletTargetGenerator
from mmwamim.visualization import draw_losses, read_scalars, save, wavelet_figure
from mmwamim.visualization.curves import read_accuracies
from mmwamim.visualization.figures import to_array
from mmwamim.visualization.pictures import _borrowed, pyramid_figure
from tests.support.commands import run, run_here
from tests.support.models import build_wamim, noise


def write_log(folder, lines):
    path = folder / 'vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(lines))


def test_logs_of_a_resumed_run(tmp_path):
    rows = [json.dumps(row) for row in (
        dict(step=1, loss=3.), dict(step=2, loss=2.), {'step': 1, 'probe/knn_top1': 40.})]
    write_log(tmp_path / '1', [*rows, '{"step": 3, "lo'])  # killed while it wrote
    write_log(tmp_path / '2', [json.dumps(dict(step=2, loss=2.5)), json.dumps(
        {'step': 2, 'accuracy/top1': 50.})])
    assert [(row['step'], row['loss']) for row in read_scalars(tmp_path)] == [(1, 3.), (2, 2.5)]
    assert read_accuracies(tmp_path) == {'probe/knn_top1': {1: 40.}, 'accuracy/top1': {2: 50.}}
    with pytest.raises(FileNotFoundError, match='no log found'):
        read_scalars(tmp_path / 'nowhere')


def test_a_run_logged_elsewhere_alone_is_told(tmp_path):
    """As WandbVisBackend leaves it without a LocalVisBackend."""
    data = tmp_path / '20260101_000000/vis_data'
    (data / 'wandb/offline-run-1').mkdir(parents=True)
    (data / 'config.py').touch()
    with pytest.raises(UserError, match='only wandb: its visualizer had no LocalVis') as told:
        draw_losses([tmp_path], tmp_path / 'x.png')
    assert '\n' not in str(told.value)


def test_a_pyramid_shows_every_subband(tmp_path):
    figure = wavelet_figure(noise(3, 64, 96), 'db2', 3)
    assert len(figure.axes) == 12
    shapes = [axes.images[0].get_array().shape for axes in figure.axes[::4]]
    assert shapes == [(32, 48), (16, 24), (8, 12)]
    pixels = to_array(figure)
    assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.std() > 10
    save(figure, tmp_path / 'deep/x.png')
    assert Image.open(tmp_path / 'deep/x.png').size[0] > 500
    flat = wavelet_figure(torch.ones(1, 8, 8), 'haar', 1)
    assert flat.axes[3].images[0].get_array().max() == 0


@pytest.mark.parametrize('fields, first', [
    (dict(norm='contrast', finer='energy', approximation='all', generations=3), 0),
    (dict(norm='none', approximation='none', generations=2), 1)])
def test_a_pyramid_of_predictions_shows_a_level_s_own_subbands(fields, first):
    model = build_wamim(target=fields).eval()
    images = noise(2, 3, 64, 64)
    figure = pyramid_figure(model, images)
    levels = len(model.target_generator.levels)
    assert len(figure.axes) == 8 * levels
    batch = model.data_preprocessor(dict(inputs=images, data_samples=None))['inputs']
    target = model.target_generator(batch)[-1][0].unflatten(0, (-1, 3)).mean(1)
    for row, band in enumerate(range(first, 4)):
        shown = figure.axes[2 * band * levels + levels - 1].images[0].get_array()
        torch.testing.assert_close(torch.from_numpy(shown.data), target[row])


@pytest.mark.parametrize('fields, words', [
    (dict(norm='contrast', finer='energy', generations=5), ['not predicted', 'level 1']),
    (dict(norm='contrast', generations=5), ['nothing is borrowed']),
    (dict(norm='token'), ['mean and standard deviation', 'not predicted'])])
def test_what_a_reconstruction_borrows_and_leaves_out_is_said(fields, words):
    notes = ' '.join(_borrowed(WaveletTargetGenerator(levels=(2, 3), **fields)))
    assert all(word in notes for word in words)


def test_the_tool(tmp_path):
    Image.new('RGB', (64, 48), (10, 200, 30)).save(tmp_path / 'x.png')
    tool = (sys.executable, 'tools/analysis/show_targets.py', tmp_path / 'x.png', '--out',
            tmp_path / 'targets.png')
    code, log = run(*tool, '--level', 2)
    assert code == 0 and Image.open(tmp_path / 'targets.png').size[0] > 500, log
    code, log = run_here(*tool[1:], '--wavelet', 'harr')
    assert code != 0 and "unknown wavelet 'harr'" in log.splitlines()[-1]
