"""`make quickstart`: from unlabelled pictures to a pre-trained encoder, pictures and one figure.

1. writes the handwritten digits that ship in scikit-learn as pictures: 1,197 to pre-train on, 600
   of other writers to test with;
2. pre-trains a tiny ViT on them without labels, through tools/dist_train.sh, as a cluster run would
   be started;
3. draws the loss curve and reconstructions of test digits, which training never saw;
4. asks what two labels a digit are enough for, from the checkpoint and from scratch: a linear probe
   of the frozen encoder, and fine-tuning of the stock mmpretrain VisionTransformer, with the same
   labelled pictures, steps and seeds.
"""
import argparse
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from PIL import Image
from sklearn.datasets import load_digits

with contextlib.redirect_stdout(io.StringIO()):  # mmpretrain prints that OneDL is not there
    import mmpretrain.datasets  # noqa: F401

from mmwamim.cores import granted_cores
from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.errors import told_in_one_line
from mmwamim.evaluation.judges import linear_accuracy

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/quickstart/digits.py'
SIZE, TESTED = 64, 600  # scikit-learn keeps a writer's digits together
# Epoch, step of how many, time left and loss in a line of MMEngine's log.
PROGRESS = re.compile(r'Epoch\(train\)\s+\[\s*(\d+)\]\[\s*(\d+/\d+)\].*?eta: (.*?)  .*?'
                      r'\bloss: (\S+)')


def write_digits(out: Path) -> Dict[str, Tuple[torch.Tensor, torch.Tensor]]:
    """Writes out/train/*.png and out/test/*.png.

    Returns:
        For each split its pictures, uint8 (N, 3, SIZE, SIZE), and their digits, int64 (N,).
    """
    digits = load_digits()  # 8x8 counts from 0 to 16
    splits = {}
    for name, chosen in dict(train=slice(TESTED, None), test=slice(TESTED)).items():
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir(parents=True)
        pictures = []
        for number, counts in enumerate(digits.images[chosen]):
            grey = Image.fromarray(np.uint8(counts * (255 / 16)))
            picture = grey.resize((SIZE, SIZE), Image.BICUBIC).convert('RGB')
            picture.save(out / name / f'{number:04d}.png')
            pictures.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
        splits[name] = torch.stack(pictures), torch.from_numpy(digits.target[chosen])
    return splits


def choose(labels: torch.Tensor, per_class: int, seed: int) -> torch.Tensor:
    """The places of ``per_class`` pictures of each class."""
    rng = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=rng)
    return torch.cat([shuffled[labels[shuffled] == digit][:per_class] for digit in range(10)])


def build_classifier(cfg: Config, encoder: Path, pretrained: bool) -> torch.nn.Module:
    """Stock VisionTransformer with mean pooling and a linear layer, from encoder.pth or not."""
    settings = {key: cfg.model.backbone[key] for key in ('arch', 'img_size', 'patch_size')}
    backbone = MODELS.build(dict(type='mmpretrain.VisionTransformer', out_type='avg_featmap',
                                 final_norm=False, **settings))
    backbone.init_weights()
    if pretrained:
        state = read_checkpoint(encoder)['state_dict']
        state = {name.removeprefix('backbone.'): value for name, value in state.items()}
        missing, unexpected = backbone.load_state_dict(state, strict=False)
        # The norm after pooling is new, the one before it is not used: nothing else may differ.
        assert set(missing) == {'ln2.weight', 'ln2.bias'}, missing
        assert set(unexpected) == {'ln1.weight', 'ln1.bias'}, unexpected
    return torch.nn.ModuleDict(dict(
        backbone=backbone, head=torch.nn.Linear(backbone.embed_dims, 10)))


def jitter(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Turns, scales and moves each picture (B, C, H, W) a little, as handwriting varies."""
    turn, scale, across, down = (torch.rand(4, len(images), generator=rng) - 0.5) \
        * torch.tensor([0.4, 0.3, 0.25, 0.25])[:, None]
    rows = [torch.stack([turn.cos() * (1 + scale), -turn.sin(), across], 1),
            torch.stack([turn.sin(), turn.cos() * (1 + scale), down], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), images.shape, align_corners=False)
    return F.grid_sample(images, grid, padding_mode='border', align_corners=False)


def fine_tune(model, train: tuple, test: tuple, steps: int, rate: float, seed: int) -> float:
    """Test accuracy in percent after ``steps`` steps of AdamW on all labelled pictures."""
    images, labels = train
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    for _ in range(steps):
        loss = F.cross_entropy(model.head(model.backbone(jitter(images, rng))[0]), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    logits = model.head(pooled(model.backbone, test[0]))
    return (logits.argmax(1) == test[1]).float().mean().item() * 100


@torch.no_grad()
def pooled(backbone: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Mean-pooled features (N, C) of pictures (N, 3, SIZE, SIZE)."""
    backbone.eval()
    return torch.cat([backbone(part)[0] for part in images.split(200)])


def compare_few_labels(out: Path, splits: dict, per_class: int, steps: int, seeds: int) -> dict:
    """Probes and fine-tunes from both starts over the seeds; writes and returns what came out."""
    cfg = Config.fromfile(ROOT / CONFIG)
    preprocessor = MODELS.build(cfg.data_preprocessor)
    splits = {name: (preprocessor(dict(inputs=pictures, data_samples=None))['inputs'], labels)
              for name, (pictures, labels) in splits.items()}
    (images, labels), test = splits['train'], splits['test']
    ways = ['linear probe', 'fine-tuning, lr 0.0003', 'fine-tuning, lr 0.001']
    result = dict(task=f'which digit, {per_class} labels each, {len(test[1])} test digits of other '
                  'writers', labels_per_class=per_class, steps=steps, chance=10.,
                  metric='top-1 %, a number for each seed: of labelled pictures, new layers and '
                  'augmentation', runs={})
    for start in ('checkpoint', 'scratch'):
        runs = {way: [] for way in ways}
        for seed in range(seeds):
            chosen = choose(labels, per_class, seed)
            train = images[chosen], labels[chosen]
            for way in ways:
                torch.manual_seed(seed)
                model = build_classifier(cfg, out / 'run/encoder.pth', start == 'checkpoint')
                if way == 'linear probe':
                    score = linear_accuracy(pooled(model.backbone, train[0]), train[1],
                                            pooled(model.backbone, test[0]), test[1])
                else:
                    score = fine_tune(model, train, test, steps, float(way.split()[-1]), seed)
                runs[way].append(round(score, 1))
        result['runs'][start] = runs
        for way in ways:
            print(f'  from {start:<10} {way}: {runs[way]}', flush=True)
        tuned = max((runs[way] for way in ways[1:]), key=statistics.mean)
        result[start] = {'linear probe': summary(runs[ways[0]]), 'fine-tuning': summary(tuned)}
    (out / 'few_labels.json').write_text(json.dumps(result, indent=2) + '\n')
    return result


def summary(scores: List[float]) -> dict:
    return dict(mean=round(statistics.mean(scores), 1),
                spread=round(max(scores) - min(scores), 1))


def pretrain(out: Path, epochs: int, processes: int) -> None:
    command = [str(ROOT / 'tools/dist_train.sh'), CONFIG, str(processes), '--data',
               str(out / 'digits/train'), '--work-dir', str(out / 'run'), '--epochs', str(epochs)]
    print('$', shlex.join(command), flush=True)
    log = out / 'pretrain.log'
    shutil.rmtree(out / 'run', ignore_errors=True)
    environment = dict(os.environ, PYTHON=sys.executable, PYTHONWARNINGS='ignore')
    with log.open('w') as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for line in process.stdout:
            file.write(line)
            found = PROGRESS.search(line)
            if found:
                print('  epoch {}, step {}  {} left  loss {}'.format(*found.groups()), flush=True)
    if process.wait():
        sys.exit(f'pre-training failed, the reason is at the end of {log}:\n'
                 + ''.join(log.read_text().splitlines(keepends=True)[-15:]))


@told_in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description='From pictures to a pre-trained encoder')
    parser.add_argument('--out', type=Path, default=Path('quickstart'))
    parser.add_argument('--epochs', type=int, default=40, help='of pre-training')
    parser.add_argument('--labels', type=int, default=2, help='labelled pictures of each digit')
    parser.add_argument('--steps', type=int, default=50, help='of fine-tuning')
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--processes', type=int, default=min(granted_cores(), 2))
    args = parser.parse_args()
    os.chdir(ROOT)
    started = time.time()

    def stage(number: int, text: str) -> None:
        print(f'[{number}/4, {time.time() - started:.0f} s] {text}', flush=True)

    init_default_scope('mmpretrain')
    MMLogger.get_instance('quickstart', log_level='ERROR')  # no list of initialised weights
    stage(1, 'writing the handwritten digits of scikit-learn as pictures')
    splits = write_digits(args.out / 'digits')
    stage(2, f'pre-training without labels, {args.epochs} epochs, log in {args.out}/pretrain.log')
    pretrain(args.out, args.epochs, args.processes)
    stage(3, 'drawing')
    python = [sys.executable, '-W', 'ignore']
    checkpoint = args.out / f'run/epoch_{args.epochs}.pth'
    environment = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONWARNINGS='ignore')
    for command in (['tools/analysis/plot_log.py', str(args.out / 'run'), '--out',
                     str(args.out / 'loss_curve.png')],
                    ['tools/analysis/show_reconstruction.py', CONFIG, str(checkpoint),
                     str(args.out / 'digits/test'), '--out', str(args.out / 'reconstruction.png')]):
        done = subprocess.run(python + command, check=True, env=environment, text=True,
                              stdout=subprocess.PIPE)
        print('\n'.join(line for line in done.stdout.splitlines() if 'OneDL' not in line))
    stage(4, f'{args.labels} labels a digit, from the checkpoint and from scratch, {args.seeds} '
             'seeds')
    result = compare_few_labels(args.out, splits, args.labels, args.steps, args.seeds)
    print(f'''
Done in {time.time() - started:.0f} s.
{result['task']}; chance 10 %, mean of {args.seeds} seeds:''')
    for way, ours in result['checkpoint'].items():
        scratch = result['scratch'][way]
        print(f'  {way:<13} from the checkpoint {ours["mean"]} % (spread {ours["spread"]}), from '
              f'scratch {scratch["mean"]} % ({scratch["spread"]}): pre-training bought '
              f'{ours["mean"] - scratch["mean"]:+.1f} points')
    print(f'''  loss curve       {args.out}/loss_curve.png
  reconstructions  {args.out}/reconstruction.png
  these figures    {args.out}/few_labels.json
  encoder          {args.out}/run/encoder.pth
The same on your own images (any folder, nested or not):
  .venv/bin/mmwamim pretrain FOLDER''')


if __name__ == '__main__':
    main()
