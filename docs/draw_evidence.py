"""Draws docs/evidence.png from docs/evidence/imagenette_curves.json.

    python docs/draw_evidence.py

Each method has points {epoch: k-NN accuracy} and the seconds of a step, measured in turn with
nothing beside it. Left: over epochs; right: over the time that the steps take.
"""
import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DOCS = Path(__file__).resolve().parent
STEPS = 73  # of an epoch of Imagenette at batch 128


def main() -> None:
    curves = json.loads((DOCS / 'evidence/imagenette_curves.json').read_text())
    figure = Figure(figsize=(10, 4), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    by_epoch, by_time = figure.subplots(1, 2, sharey=True)
    for number, curve in enumerate(curves):
        epochs = sorted(map(int, curve['knn']))
        accuracy = [curve['knn'][str(epoch)] for epoch in epochs]
        minutes = [epoch * STEPS * curve['step_seconds'] / 60 for epoch in epochs]
        look = dict(marker='o', markersize=4, color=f'C{number}', label=curve['name'])
        by_epoch.plot(epochs, accuracy, **look)
        by_time.plot(minutes, accuracy, **look)
    by_epoch.set(xlabel='epochs', ylabel='k-NN accuracy, last layer, %',
                 title='at equal epochs')
    by_time.set(xlabel='minutes of one core', title='at equal time: further up and left is better')
    for axes in (by_epoch, by_time):
        axes.grid(alpha=0.3)
        axes.set_xlim(left=0)
    by_epoch.legend(fontsize=8)
    figure.savefig(DOCS / 'evidence.png')


if __name__ == '__main__':
    main()
