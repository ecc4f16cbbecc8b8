import pytest

from mmwamim.errors import UserError, told_in_one_line


@told_in_one_line()
def script(error):
    raise error


def test_a_script_tells_a_user_error_in_one_line():
    with pytest.raises(SystemExit) as caught:
        script(UserError("data_root 'x' is not a folder"))
    assert caught.value.code == "error: data_root 'x' is not a folder"  # printed, exit code 1


def test_other_errors_keep_their_traceback_and_ours_is_an_exception():
    with pytest.raises(KeyError):
        script(KeyError('x'))
    assert issubclass(UserError, ValueError)  # caught by `except Exception`, unlike SystemExit
