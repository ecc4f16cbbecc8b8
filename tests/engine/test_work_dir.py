"""One run at a time in a work directory, whatever ended the one before."""
import os
import signal
import threading
import time

import pytest

from mmwamim.engine.work_dir import NAME, alone_in
from mmwamim.errors import UserError


@pytest.fixture
def holder(tmp_path):
    """The number of another process that has a run in the folder, with a worker of a loader, which
    outlives it."""
    ready, tell = os.pipe()
    process = os.fork()
    if not process:
        with alone_in(tmp_path):
            worker = os.fork()
            os.write(tell, str(worker or '').encode())
            time.sleep(60)
        os._exit(0)
    worker = int(os.read(ready, 20))
    yield process
    os.kill(worker, signal.SIGKILL)


def end(process):
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def test_another_process_is_refused_until_the_first_is_gone(tmp_path, holder):
    with pytest.raises(UserError) as caught, alone_in(tmp_path):
        pytest.fail('two runs at once')
    assert f'(process {holder} of ' in str(caught.value) and str(tmp_path / NAME) in \
        str(caught.value) and '\n' not in str(caught.value)
    end(holder)  # its worker is still there, and so is the file
    assert (tmp_path / NAME).is_file()
    with alone_in(tmp_path):
        assert f'process {os.getpid()} ' in (tmp_path / NAME).read_text()
    assert not (tmp_path / NAME).exists()


def test_removing_the_file_lets_a_run_in(tmp_path, holder):
    """Of a machine that has crashed a network drive may keep the lock."""
    (tmp_path / NAME).unlink()
    with alone_in(tmp_path):
        pass
    end(holder)


def test_a_thread_is_refused_and_takes_nothing_away(tmp_path):
    said = []

    def run():
        try:
            with alone_in(tmp_path):
                said.append('two runs at once')
        except UserError as error:
            said.append(str(error))

    with alone_in(tmp_path):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        process = os.fork()
        if not process:  # the system's lock is still there
            try:
                with alone_in(tmp_path / '..' / tmp_path.name):
                    os._exit(1)
            except UserError:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert 'another thread' in said[0] and len(said) == 1
    with alone_in(tmp_path):
        pass


def test_only_the_first_process_of_a_run_asks(tmp_path, monkeypatch):
    monkeypatch.setenv('RANK', '1')
    with alone_in(tmp_path), alone_in(tmp_path):
        assert not (tmp_path / NAME).exists()


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    with alone_in(tmp_path / 'new'):
        assert not (tmp_path / 'new').exists()
