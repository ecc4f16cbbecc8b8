"""The table of a sweep: a row for each config, in Markdown, CSV, JSON and as a picture."""
import csv
import json
import statistics
from pathlib import Path
from typing import Dict, List

from mmwamim.visualization import save
from mmwamim.visualization.figures import new_figure

METRICS = dict(linear='linear probe', linear_all='linear probe, all levels', knn='k-NN',
               finetune='fine-tuning')
Results = Dict[str, List[dict]]  # the runs of each config, one a seed


def spread(values: List[float]) -> str:
    """Mean and, of several, the standard deviation."""
    if not values:
        return ''
    mean = statistics.mean(values)
    return f'{mean:.2f} ± {statistics.stdev(values):.2f}' if len(values) > 1 else f'{mean:.2f}'


def explained(runs: List[dict]) -> str:
    """The share of each level's target that is predicted, in percent, finest level first."""
    levels = [run['explained'].values() for run in runs if run.get('explained')]
    return ' '.join(f'{100 * statistics.mean(shares):.0f}' for shares in zip(*levels))


def write_tables(results: Results, out: Path) -> None:
    """table.md, table.csv, table.png and runs.json of everything finished so far."""
    out.mkdir(parents=True, exist_ok=True)
    (out / 'runs.json').write_text(json.dumps(results, indent=2) + '\n')
    metrics = [name for name in METRICS if any(name in run for runs in results.values()
                                               for run in runs)]
    lines = ['| config | seeds | epochs | minutes | explained, % | ' + ' | '.join(
        METRICS[name] for name in metrics) + ' |', '|---' * (5 + len(metrics)) + '|']
    for name, runs in results.items():
        cells = [spread([run[metric] for run in runs if metric in run]) for metric in metrics]
        minutes = statistics.mean(run['pretrain_seconds'] for run in runs) / 60
        lines.append(f'| {name} | {", ".join(str(run["seed"]) for run in runs)} | '
                     f'{runs[0]["epochs"]} | {minutes:.1f} | {explained(runs)} | '
                     f'{" | ".join(cells)} |')
    (out / 'table.md').write_text('\n'.join(lines) + '\n')
    with (out / 'table.csv').open('w', newline='') as file:
        fields = ['name', 'config', 'seed', 'epochs', 'pretrain_seconds', 'loss', 'explained',
                  'linear', 'linear_levels', 'linear_all', 'knn', 'knn_levels', 'effective_rank',
                  'finetune', 'finetune_seconds']
        writer = csv.DictWriter(file, fields, extrasaction='ignore')
        writer.writeheader()
        writer.writerows(dict(run, name=name) for name, runs in results.items() for run in runs)
    if metrics:
        draw(results, metrics, out / 'table.png')


def draw(results: Results, metrics: List[str], out: Path) -> None:
    """A dot for each run, a bar at the mean of each config, a panel for each metric."""
    figure = new_figure(1.5 + 3.5 * len(metrics), 1.2 + 0.32 * len(results))
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for panel, metric in zip(panels, metrics):
        for row, runs in enumerate(results.values()):
            values = [run[metric] for run in runs if metric in run]
            if values:
                panel.plot(values, [row] * len(values), 'o', color='C0', alpha=0.5)
                panel.plot([statistics.mean(values)], [row], '|', color='C1', markersize=16,
                           markeredgewidth=2.5)
        panel.set(xlabel=f'{METRICS[metric]}, top-1 in %')
        panel.grid(axis='both', alpha=0.3)
    panels[0].set_yticks(range(len(results)), list(results))
    panels[0].invert_yaxis()
    save(figure, out)
