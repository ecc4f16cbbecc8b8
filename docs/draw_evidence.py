"""Draws docs/evidence.png from docs/evidence/imagenette_curves.json.

    .venv/bin/python docs/draw_evidence.py

Left: linear probe over the time of pre-training; a line joins the checkpoints of one run, a diamond
is the end of one. Right: fine-tuning with 10 % of the labels, a point a seed.
"""
import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DOCS = Path(__file__).resolve().parent
MINUTES = 2, 4, 8, 15, 30, 60


def main() -> None:
    methods = json.loads((DOCS / 'evidence/imagenette_curves.json').read_text())
    figure = Figure(figsize=(10, 4.4), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    probed, fine_tuned = figure.subplots(1, 2)
    for number, method in enumerate(methods):
        colour = f'C{number}'
        curve = method.get('curve', [])
        probed.plot([point['seconds'] / 60 for point in curve],
                    [point['linear'] for point in curve], marker='o', markersize=4, color=colour)
        ends = method.get('ends', [])
        probed.plot([point['seconds'] / 60 for point in ends], [point['linear'] for point in ends],
                    linestyle='', marker='D', color=colour)
        tuned = method.get('finetune', [])
        fine_tuned.plot([point['seconds'] / 60 for point in tuned],
                        [point['accuracy'] for point in tuned], linestyle='', marker='D',
                        color=colour, label=method['name'])
    probed.set(title='linear probe, last layer')
    fine_tuned.set(title='fine-tuning, 10 % of the labels')
    for panel in (probed, fine_tuned):
        panel.set(xlabel='minutes of pre-training, one core', ylabel='top-1, %')
        panel.grid(alpha=0.3)
        panel.set_xscale('log')  # what is as much faster lies as far to the left
        panel.set_xticks(MINUTES, [str(minutes) for minutes in MINUTES])
        panel.set_xticks([], minor=True)
    figure.legend(loc='outside lower center', ncols=2, fontsize=9, frameon=False)
    figure.savefig(DOCS / 'evidence.png')


if __name__ == '__main__':
    main()
