"""mmwamim check on folders of every kind."""
import numpy as np

from tests.datasets.test_pixels import blocks
from tests.support.commands import call
from tests.support.small_data import write


def look(capsys, *words):
    return call(capsys, 'check', *words, '--workers', 1)


def test_check_names_what_shows_nothing(tmp_path, capsys):
    root, report = tmp_path / 'x', tmp_path / 'report.jsonl'
    write(root / 'good.png', blocks())
    write(root / 'black.png', np.zeros((9, 9, 3), np.uint8))
    write(root / 'speck.gif', np.pad(np.uint8([[9]]), 20))
    write(root / 'flat.jpg', np.full((32, 32, 3), 99, np.uint8), quality=30)
    write(root / 'twelve.png', np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16))
    (root / 'notes.txt').write_text('x')
    code, out = look(capsys, root, '--report', report)
    assert code == 1 and '5 images, 5 looked at now, 1 unreadable, 3 nearly of one colour' in out
    assert '5 images in' in out and 'left out: .txt 1' in out
    for name in ('black.png', 'speck.gif', 'flat.jpg'):
        assert f'{name}: nearly of one colour' in out
    assert 'good.png' not in out and 'twelve.png: 16-bit data' in out
    # Known results are told again, and a range makes the dark one anew.
    code, again = look(capsys, root, '--report', report)
    assert code == 1 and '0 looked at now, 1 unreadable, 3 nearly' in again
    assert 'black.png: nearly of one colour' in again
    code, out = look(capsys, root, '--report', report, '--value-range', 0, 4095)
    assert code == 0 and '0 unreadable, 3 nearly of one colour' in out
    code, out = look(capsys, root, '--report', report, '--value-range', 0,
                     65535)
    assert code == 0 and '4 nearly of one colour' in out  # 12 bits as a sixteenth of the range
    assert 'two rising numbers' in look(capsys, root, '--value-range', 5, 5)[0]
