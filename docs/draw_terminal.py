"""Draws docs/terminal.svg: a short film of what a terminal really showed during a run.

    python docs/draw_terminal.py mmwamim pretrain photos --epochs 3    # runs it, and draws
    python docs/draw_terminal.py --cast terminal.cast                  # draws a recording again

The command runs in a pseudo-terminal; what it prints, with the times, goes to --cast (asciicast 2,
which asciinema plays, too). --after TEXT leaves out what comes before the first line with TEXT,
such as what other packages print while they are imported. Paths are relative to where it was
started. Where a viewer plays no film, the last frame stands.
"""
import argparse
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from io import StringIO
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / 'docs/terminal.svg'
COLUMNS = 112
FRAMES, SECONDS, HOLD = 12, 0.9, 7.  # frames before the last, time of each, time of the last
CONTROL = re.compile(r'\x1b\[(\d*)([ABK])|\x1b\[\?\d+[hl]|[\r\n]')
PARTS = '\x1f'.join('{%s}' % name for name in (
    'styles', 'lines', 'backgrounds', 'matrix', 'width', 'height', 'terminal_width',
    'terminal_height', 'terminal_x', 'terminal_y', 'chrome', 'char_height', 'line_height'))


def record(command: List[str], path: Path) -> None:
    """Runs the command in a terminal of COLUMNS columns and writes what it prints."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 60, COLUMNS, 0, 0))
    start = time.monotonic()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs,
                               env={**os.environ, 'TERM': 'xterm-256color'})
    os.close(theirs)
    with path.open('w') as cast:
        header = {'version': 2, 'width': COLUMNS, 'height': 60, 'title': ' '.join(command)}
        print(json.dumps(header), file=cast)
        while data := _read(ours):
            event = [round(time.monotonic() - start, 3), 'o', data.decode(errors='replace')]
            print(json.dumps(event), file=cast, flush=True)
    if process.wait():
        sys.exit(f'{command[0]} ended with code {process.returncode}: see {path}')


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # nobody holds the other end any more
        return b''


def screens(events: List[Tuple[float, str, str]]) -> Iterator[Tuple[float, List[str]]]:
    """The lines on the screen after each event, colours still as escape sequences."""
    lines, row = [''], 0
    for seconds, _, text in events:
        done = 0
        for found in [*CONTROL.finditer(text), None]:
            lines[row] += text[done:found.start() if found else None]
            if found is None:
                break
            done = found.end()
            if found[0] == '\n':
                row += 1
                lines.extend([''] * (row + 1 - len(lines)))
            elif found[2] == 'A':
                row = max(row - int(found[1] or 1), 0)
            elif found[2] == 'K' or (found[0] == '\r' and text[done:done + 1] not in ('\n', '\r')):
                lines[row] = ''
        yield seconds, list(lines)


def choose(states: List[Tuple[float, List[str]]]) -> List[List[str]]:
    """FRAMES screens at equal distances of time, and the last one."""
    first, last = states[0][0], states[-1][0]
    times = [first + (last - first) * number / FRAMES for number in range(FRAMES)]
    return [[lines for seconds, lines in states if seconds <= moment][-1]
            for moment in times] + [states[-1][1]]


def draw(frames: List[List[str]], title: str) -> str:
    """An SVG in which each frame, a list of lines, is seen for its time."""
    drawn = []
    for lines in frames:
        console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True,
                          color_system='truecolor', legacy_windows=False)
        for line in [f'$ {title}', *lines]:
            console.print(Text.from_ansi(line), soft_wrap=False, overflow='fold')
        drawn.append(console)
    rows = max(len(console.export_text(clear=False).split('\n')) for console in drawn)
    parts = []
    for number, console in enumerate(drawn):
        for _ in range(rows - len(console.export_text(clear=False).split('\n'))):
            console.print()
        parts.append(console.export_svg(title=title, theme=MONOKAI, code_format=PARTS,
                                        unique_id=f'f{number}').split('\x1f'))
    return _film(parts)


def _film(parts: List[List[str]]) -> str:
    names = PARTS.replace('{', '').replace('}', '').split('\x1f')
    frames: List[Dict[str, str]] = [dict(zip(names, part)) for part in parts]
    length = (len(frames) - 1) * SECONDS + HOLD
    rules, groups = [], []
    for number, frame in enumerate(frames):
        last = number == len(frames) - 1
        start = 100 * number * SECONDS / length
        end = 100. if last else 100 * (number + 1) * SECONDS / length
        seen = '' if number == 0 else '0%{visibility:hidden}'
        rules.append(f'.frame{number}{{visibility:{"visible" if last else "hidden"};'
                     f'animation:show{number} {length:g}s step-end infinite}}'
                     f'@keyframes show{number}{{{seen}{start:.2f}%{{visibility:visible}}'
                     f'{end:.2f}%{{visibility:{"visible" if last else "hidden"}}}}}')
        rules.append(frame['styles'])
        groups.append(f'<g class="frame{number}"><defs>{frame["lines"]}</defs>'
                      f'{frame["backgrounds"]}{frame["matrix"]}</g>')
    base = frames[-1]
    return f'''<svg viewBox="0 0 {base['width']} {base['height']}"
xmlns="http://www.w3.org/2000/svg">
<style>text{{font-family:Menlo,Consolas,"DejaVu Sans Mono",monospace;
font-size:{base['char_height']}px;white-space:pre}}{"".join(rules)}
@media (prefers-reduced-motion:reduce){{g{{animation:none!important}}}}</style>
{base['chrome']}
<g transform="translate({base['terminal_x']},{base['terminal_y']})">
{"".join(groups)}</g></svg>
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--cast', type=Path, default=Path('terminal.cast'))
    parser.add_argument('--after', default='', metavar='TEXT')
    parser.add_argument('command', nargs=argparse.REMAINDER)
    args = parser.parse_args()
    if args.command:
        record(args.command, args.cast)
    header, *events = map(json.loads, args.cast.read_text().splitlines())
    states = []
    for seconds, lines in screens(events):
        lines = [line.replace(f'{Path.cwd()}{os.sep}', '').replace(f'{ROOT}{os.sep}', '')
                 for line in lines]
        first = next((number for number, line in enumerate(lines) if args.after in line), None)
        if first is not None:
            states.append((seconds, lines[first:]))
    OUT.write_text(draw(choose(states), header['title']))
    print(f'wrote {OUT}')


if __name__ == '__main__':
    main()
