"""Writes checkpoints so that a kill at any moment, or a full disk, leaves the last one whole."""
import os
import secrets
from collections import deque
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Optional, Union

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmwamim.registry import HOOKS

from .finding import PREEMPTED_NAME, run_of


def write_atomically(data: Union[bytes, memoryview], path: Union[str, Path]) -> None:
    """Writes a file beside, flushes it to the disk, and renames it.

    The file gets the mode that the umask gives, as every other file of a run.

    Raises:
        OSError: With the path, also where the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.parent / f'.{path.name}.{secrets.token_hex(6)}'  # removed by the next resume
    try:
        with beside.open('xb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # what a full disk says
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    with suppress(OSError):  # some file systems cannot flush a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@register_backend('atomic')
class AtomicBackend(LocalBackend):
    """Local files that are either whole or not there: :func:`write_atomically`."""

    def put(self, obj: Union[bytes, BytesIO], filepath: Union[str, Path]) -> None:
        write_atomically(obj.getbuffer() if isinstance(obj, BytesIO) else obj, filepath)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's hook, whose files are whole or not there.

    Old checkpoints go after the new one is on the disk, not before it. ``preempted.pth`` goes as
    soon as a later checkpoint of the same run is there.

    Args:
        backend_args: Where files go. Default: the atomic backend.
        **fields: Of ``mmengine.hooks.CheckpointHook``.

    Examples:
        >>> default_hooks = dict(checkpoint=dict(  # in a config
        ...     type='mmwamim.AtomicCheckpointHook', interval=5, max_keep_ckpts=3))
    """

    def __init__(self, backend_args: Optional[dict] = None, **fields: Any) -> None:
        super().__init__(backend_args=backend_args or dict(backend='atomic'), **fields)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        most, dropped = self.max_keep_ckpts, []
        if most > 0:
            kept = [known for known in self.keep_ckpt_ids if known != step] + [step]
            kept, dropped = kept[-most:], kept[:-most]
            self.keep_ckpt_ids = deque(kept, most)
            runner.message_hub.update_info('keep_ckpt_ids', kept)
        self.max_keep_ckpts = -1  # MMEngine would remove the old one before it writes
        try:
            super()._save_checkpoint_with_step(runner, step, meta)
        finally:
            self.max_keep_ckpts = most
        if is_main_process():
            for old in dropped:
                path = Path(self.out_dir) / self.filename_tmpl.format(old)
                path.unlink(missing_ok=True)
            self._drop_preempted(runner)

    def _drop_preempted(self, runner: Runner) -> None:
        path = Path(runner.work_dir) / PREEMPTED_NAME
        mine = runner.message_hub.get_info('run')
        if path.is_file() and mine is not None and run_of(path).id == mine['id']:
            path.unlink()
