import os

import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.checkpoints.reading import UnsafeFile, check_safe, damage
from mmwamim.errors import UserError
from mmwamim.weights.reading import read_source


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker, )


def test_tensors_and_log_histories_are_read(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save(dict(state_dict=dict(w=torch.ones(2)), log=HistoryBuffer([1., 2.], [1, 1])), path)
    checkpoint = read_checkpoint(path)
    assert checkpoint['state_dict']['w'].tolist() == [1, 1]
    assert checkpoint['log'].mean() == 1.5


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    path, marker = tmp_path / 'x.pth', tmp_path / 'ran'
    torch.save(dict(state_dict={}, x=Malicious(str(marker))), path)
    with pytest.raises(ValueError, match='cannot be read'):
        read_checkpoint(path)
    assert not marker.exists()


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        read_checkpoint(tmp_path / 'nowhere.pth')
    torch.save([1], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match='no state_dict'):
        read_checkpoint(tmp_path / 'list.pth')


def test_a_run_refuses_to_resume_from_what_runs_code(tmp_path):
    from tests.support.commands import QUICK
    from tests.support.processes import train_in_ranks

    class Malicious:

        def __reduce__(self):
            return (open, (str(tmp_path / 'executed'), 'w'))

    folder = tmp_path / 'images'
    folder.mkdir()
    from PIL import Image
    for number in range(4):
        Image.new('RGB', (80, 80)).save(folder / f'{number}.png')
    torch.save(dict(state_dict={}, meta=Malicious()), tmp_path / 'bad.pth')
    (tmp_path / 'executed').unlink(missing_ok=True)
    code, log = train_in_ranks(QUICK, '--data', folder, '--work-dir', tmp_path / 'w', '--resume',
                               tmp_path / 'bad.pth', ranks=1)
    assert code != 0 and '--trust-checkpoint' in log.splitlines()[-1], log
    assert not (tmp_path / 'executed').exists()


@pytest.mark.parametrize('place', ['target_generator', 'head'])
def test_weights_of_other_parts_are_read_safely_or_not_at_all(tmp_path, place):
    from mmengine.config import Config

    from mmwamim.engine.checkpoints.settling import settle_resume

    class Malicious:

        def __reduce__(self):
            return (open, (str(tmp_path / 'executed'), 'w'))

    def settle(path, trust=False):
        part = dict(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
        settle_resume(Config(dict(model={'backbone': {}, place: part}, work_dir=str(tmp_path))),
                      None, trust)

    torch.save(dict(weights=torch.zeros(2)), tmp_path / 'good.pth')
    settle(tmp_path / 'good.pth')
    torch.save(Malicious(), tmp_path / 'bad.pth')
    (tmp_path / 'executed').unlink(missing_ok=True)
    for path, reason in ((tmp_path / 'bad.pth', 'safely'), ('https://host/x.pth', 'download it'),
                         (tmp_path / 'none.pth', 'no file')):
        with pytest.raises(UserError, match=f'model.{place}.init_cfg.checkpoint.*{reason}'):
            settle(path)
    assert not (tmp_path / 'executed').exists()
    settle(tmp_path / 'bad.pth', trust=True)  # left to MMEngine, as the user asked


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_weights_that_are_no_numbers_are_refused_with_their_name(value, tmp_path):
    path = tmp_path / 'x.pth'
    weights = {'backbone.w': torch.ones(2, 3), 'head.mask': torch.tensor([-float('inf')]),
               'steps': torch.tensor(3)}
    torch.save(dict(state_dict=weights), path)
    assert read_checkpoint(path)['state_dict']['head.mask'].isinf().all()  # as masks may be
    weights['backbone.w'][1, 2] = value
    torch.save(dict(state_dict=weights), path)
    with pytest.raises(UserError, match="x.pth': 1 of 6 values of 'backbone.w' are NaN or inf"):
        read_checkpoint(path)
    with pytest.raises(UserError, match="'backbone.w' are NaN or inf"):
        check_safe(str(path), 'model.init_cfg')


def test_an_encoder_of_another_library_is_looked_at_too(tmp_path):
    from safetensors.torch import save_file
    name = 'patch_embed.projection.weight'
    save_file({name: torch.full((4, 3, 2, 2), float('nan'))}, tmp_path / 'a.safetensors')
    with pytest.raises(UserError, match=f"a.safetensors': 48 of 48 values of '{name}' are NaN"):
        read_source(tmp_path / 'a.safetensors')
    (tmp_path / 'b.safetensors').write_text('no tensors')
    with pytest.raises(UserError, match="b.safetensors' cannot be read as safetensors: "):
        read_source(tmp_path / 'b.safetensors')


@pytest.mark.parametrize('content, kind', [
    (b'<!DOCTYPE html><html><body>404</body></html>', 'a web page'),
    (b'\n<html>', 'a web page'),
    (b'\xff\xd8\xff\xe0\0\x10JFIF', 'a picture'),
    (b'\x89PNG\r\n\x1a\n', 'a picture'),
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'a pointer of Git LFS'),
    (b'\x10\0\0\0\0\0\0\0{"a":{}}', 'a file of safetensors'),
    (b'\x1f\x8b\x08\0', 'a packed file'),
    (b'nothing of all that', 'no file that torch.save has written'),
    (b'', 'it is empty')])
def test_what_is_no_checkpoint_is_called_what_it_is(content, kind, tmp_path):
    """Not a checkpoint that holds more than data, to be trusted on the word of its source."""
    path = tmp_path / 'encoder.pth'
    path.write_bytes(content)
    for read in (read_checkpoint, lambda path: check_safe(str(path), 'model.init_cfg')):
        with pytest.raises(UserError, match=kind) as caught:
            read(path)
        assert not isinstance(caught.value, UnsafeFile) and '\n' not in str(caught.value)
        assert 'more than data' not in str(caught.value)
    assert kind in damage(path)  # what --resume says


def test_a_state_dict_without_tensors_is_none(tmp_path):
    torch.save(dict(state_dict={'backbone.a': 3, 5: 'b'}), tmp_path / 'x.pth')
    with pytest.raises(UserError, match='no state_dict'):
        read_checkpoint(tmp_path / 'x.pth')
