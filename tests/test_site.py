"""The site of docs/ builds without a warning, and has every page."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import ROOT


def test_the_site_builds_and_misses_no_page(tmp_path):
    pytest.importorskip('mkdocs')
    pytest.importorskip('latex2mathml')
    done = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(tmp_path)],
        cwd=ROOT, text=True, capture_output=True, env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'})
    assert done.returncode == 0, done.stderr
    menu = (tmp_path / 'index.html').read_text()
    for page in Path(ROOT, 'docs').glob('*.md'):
        assert page.stem in ('index', 'package') or f'href="{page.stem}/"' in menu, page
    method = (tmp_path / 'method/index.html').read_text()
    assert method.count('<math') > 20 and '$' not in method  # formulas are drawn
    api = (tmp_path / 'api/index.html').read_text()
    assert 'id="mmwamim.models.wamim.WaMIM"' in api and 'loss_level2' in api
