"""docs/draw_terminal.py: what a terminal shows, as frames of an SVG."""
import importlib.util
import json
import re
import sys
import xml.dom.minidom

import pytest

from tests.support.commands import ROOT

SPEC = importlib.util.spec_from_file_location('draw_terminal', ROOT / 'docs/draw_terminal.py')


@pytest.fixture
def film():
    module = importlib.util.module_from_spec(SPEC)
    SPEC.loader.exec_module(module)
    return module


def test_a_live_line_is_written_over_and_lines_go_above_it(film):
    events = [(0., 'o', 'start\r\nstep 1'), (1., 'o', '\r\x1b[2Kstep 2'),
              (2., 'o', '\r\x1b[2Kwarning\r\nstep 2'), (3., 'o', '\x1b[1A\r\x1b[2Kend')]
    assert [lines for _, lines in film.screens(events)] == [
        ['start', 'step 1'], ['start', 'step 2'], ['start', 'warning', 'step 2'],
        ['start', 'end', 'step 2']]


def test_a_command_is_recorded_and_drawn(film, tmp_path, monkeypatch):
    script = tmp_path / 'script.py'
    script.write_text('import os\nprint(os.isatty(1))\nprint("noise")\n'
                      'print("\\033[31m<first>\\033[0m & last")\n')
    monkeypatch.setattr(film, 'OUT', tmp_path / 'film.svg')
    monkeypatch.setattr(sys, 'argv', ['draw_terminal.py', '--cast', str(tmp_path / 'a.cast'),
                                      '--after', 'first', sys.executable, str(script)])
    film.main()
    events = [json.loads(line) for line in (tmp_path / 'a.cast').read_text().splitlines()[1:]]
    assert ''.join(text for _, _, text in events).startswith('True\r\nnoise\r\n')
    svg = (tmp_path / 'film.svg').read_text()
    xml.dom.minidom.parseString(svg)
    frames = re.findall(r'<g class="frame\d+">', svg)
    assert len(frames) == film.FRAMES + 1
    words = re.sub(r'<[^>]+>', '', svg.split(frames[-1])[1])
    assert '&lt;first&gt;' in words and 'noise' not in words
    # Without a film the last frame is seen, and no other.
    assert re.findall(r'\.frame(\d+)\{visibility:visible', svg) == [str(film.FRAMES)]
