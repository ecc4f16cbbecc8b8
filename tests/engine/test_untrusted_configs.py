"""The config in a checkpoint is read as values, and nothing in it is run."""
import pytest
import torch
from mmengine.config import Config

from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.config.text import config_of_text
from mmwamim.engine.export.programs import load_encoder, run_config
from mmwamim.errors import MissingFile, UserError
from tests.support.commands import QUICK
from tests.support.models import save_encoder

MARK = 'was_run'


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_encoder(tmp_path / 'encoder.pth', QUICK)
    return tmp_path / 'encoder.pth'


def test_values_are_those_of_mmengine(checkpoint):
    text = read_checkpoint(checkpoint)['meta']['config']
    read, run = run_config(checkpoint), Config.fromstring(text, '.py')
    assert read._cfg_dict.to_dict() == run._cfg_dict.to_dict()
    assert isinstance(read.model.backbone.out_indices, type(run.model.backbone.out_indices))
    assert config_of_text('model = dict(a=-1.5, b=inf)', 'x').model == dict(a=-1.5, b=float('inf'))


@pytest.mark.parametrize('text, message', [
    (f'import os; os.mkdir({MARK!r})', 'holds more than values'),
    (f'model = __import__("os").mkdir({MARK!r})', 'holds more than values'),
    (f"model = dict(backbone=dict(type='os.mkdir', path={MARK!r}))",
     "model.backbone.type in the config.*no registry has 'os.mkdir'"),
    (f"model = dict(backbone=dict(type='subprocess.Popen', args=['mkdir', {MARK!r}]))",
     "no registry has 'subprocess.Popen'"),
    ('model = 5', 'has no model'), (5, 'holds more than values')])
def test_a_config_that_would_run_something_is_refused(checkpoint, tmp_path, text, message):
    content = torch.load(checkpoint, weights_only=True)
    torch.save(dict(content, meta=dict(config=text)), checkpoint)
    with pytest.raises(UserError, match=message):
        load_encoder(checkpoint)
    assert not (tmp_path / MARK).exists()


def test_a_byte_that_has_changed_is_found(checkpoint):
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 255
    checkpoint.write_bytes(data)
    with pytest.raises(UserError, match='is damaged: its record .* does not have its check value'):
        read_checkpoint(checkpoint)


def test_the_reason_is_in_words_of_this_package(checkpoint, tmp_path):
    whole = checkpoint.read_bytes()
    for content, reason in ((b'', 'it is empty'), (whole[:len(whole) // 2], 'only a part of one')):
        checkpoint.write_bytes(content)
        with pytest.raises(UserError, match=reason) as caught:
            read_checkpoint(checkpoint)
        assert 'weights_only' not in str(caught.value)  # torch's advice, to run what is in it
    with pytest.raises(MissingFile, match='is a folder: give encoder.pth'):
        read_checkpoint(tmp_path)
    with pytest.raises(UserError, match='a checkpoint is the path of a file, not None'):
        read_checkpoint(None)
