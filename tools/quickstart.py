"""`make quickstart`: from photographs to a pre-trained encoder, pictures and one honest figure.

1. cuts grey 96 px crops out of the photographs that ship in scikit-image: pre-training and
   labelled crops from their left part, test crops from the rest on the right;
2. pre-trains a small ViT through tools/dist_train.sh, as a cluster run would be started;
3. draws the loss curve and reconstructions of test crops, which training never saw;
4. fine-tunes with few labels (which photograph is this?), from the checkpoint and from scratch:
   the stock mmpretrain VisionTransformer, same data, steps and seeds.
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

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

with contextlib.redirect_stdout(io.StringIO()):  # mmpretrain prints that OneDL is not there
    import mmpretrain.datasets  # noqa: F401

from mmwamim.datasets.loading import read_rgb
from mmwamim.datasets.splits import list_labelled
from mmwamim.engine.checkpoints import read_checkpoint

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/quickstart/vit_tiny_pretrain.py'
PHOTOGRAPHS = ('astronaut.png', 'brick.png', 'camera.png', 'chelsea.png', 'coffee.png',
               'coins.png', 'grass.png', 'gravel.png', 'hubble_deep_field.jpg', 'ihc.png',
               'moon.png', 'motorcycle_left.png', 'page.png', 'retina.jpg', 'rocket.jpg')
CROP, SIZE = 96, 64
# Epoch, step of how many, time left and loss in a line of MMEngine's log.
PROGRESS = re.compile(r'Epoch\(train\)\s+\[\s*(\d+)\]\[\s*(\d+/\d+)\].*?eta: (.*?)  .*?'
                      r'\bloss: (\S+)')


def cut_crops(out: Path, train: int, test: int) -> None:
    """Writes out/images/<photo>/*.png (left 60 %) and out/test/<photo>/*.png (right 40 %).

    Grey, because by colour alone an untrained network tells these photographs apart.
    """
    import skimage.data
    source = Path(skimage.data.__file__).parent
    rng = np.random.default_rng(0)
    for folder in ('images', 'test'):
        shutil.rmtree(out / folder, ignore_errors=True)
    for name in PHOTOGRAPHS:
        photo = Image.open(source / name).convert('L')
        scale = max(256 / min(photo.size), 1)
        photo = photo.resize([round(side * scale) for side in photo.size], Image.BICUBIC)
        border = round(photo.width * 0.6)
        for folder, count, left, right in (('images', train, 0, border),
                                           ('test', test, border, photo.width)):
            target = out / folder / Path(name).stem
            target.mkdir(parents=True)
            for number in range(count):
                x = int(rng.integers(left, right - CROP + 1))
                y = int(rng.integers(0, photo.height - CROP + 1))
                crop = photo.crop((x, y, x + CROP, y + CROP))
                crop.save(target / f'{number:03d}.png', icc_profile=None)


def load_labelled(folder: Path, per_class: int, preprocessor) -> tuple:
    """Centre crops of the first images of each class: normalised (N, 3, 64, 64), labels (N,)."""
    found = list_labelled(folder, sorted(Path(name).stem for name in PHOTOGRAPHS))
    images, labels = [], []
    for path, label in zip(found.images.paths, found.labels.tolist()):
        if labels.count(label) < per_class:
            path = folder / path
            picture = Image.fromarray(read_rgb(path)).resize((SIZE, SIZE), Image.BICUBIC)
            images.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
            labels.append(label)
    batch = dict(inputs=torch.stack(images), data_samples=None)
    return preprocessor(batch)['inputs'], torch.tensor(labels)


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
    classes = len(PHOTOGRAPHS)
    return torch.nn.ModuleDict(dict(
        backbone=backbone, head=torch.nn.Linear(backbone.embed_dims, classes)))


def fine_tune(model, train: tuple, test: tuple, steps: int, rate: float, seed: int) -> float:
    """Test accuracy in percent after ``steps`` steps of AdamW with random flips."""
    images, labels = train
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    for _ in range(steps):
        chosen = torch.randint(len(images), (16, ), generator=rng)
        batch = images[chosen]
        flip = torch.rand(len(batch), generator=rng) < 0.5
        batch = torch.where(flip[:, None, None, None], batch.flip(-1), batch)
        loss = F.cross_entropy(model.head(model.backbone(batch)[0]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    for module in model.values():
        module.eval()
    with torch.no_grad():
        logits = torch.cat([model.head(model.backbone(part)[0]) for part in test[0].split(256)])
    return (logits.argmax(1) == test[1]).float().mean().item() * 100


def compare_few_labels(out: Path, per_class: int, steps: int, seeds: int) -> dict:
    """Fine-tunes both ways over the seeds, and writes and returns what came out."""
    cfg = Config.fromfile(ROOT / CONFIG)
    preprocessor = MODELS.build(cfg.data_preprocessor)
    train = load_labelled(out / 'images', per_class, preprocessor)
    test = load_labelled(out / 'test', 10**6, preprocessor)
    result = dict(task=f'which of {len(PHOTOGRAPHS)} photographs a grey {SIZE} px crop is from',
                  labels_per_class=per_class, test_crops=len(test[1]), steps=steps,
                  learning_rates=[3e-4, 1e-3], metric='top-1 %, mean over seeds at the rate '
                  'that is better for that start', chance=100 / len(PHOTOGRAPHS), runs={})
    for start in ('checkpoint', 'scratch'):
        result['runs'][start] = {}
        for rate in result['learning_rates']:
            scores = []
            for seed in range(seeds):
                torch.manual_seed(seed)
                model = build_classifier(cfg, out / 'run/encoder.pth', start == 'checkpoint')
                scores.append(round(fine_tune(model, train, test, steps, rate, seed), 1))
            result['runs'][start][str(rate)] = scores
            print(f'  from {start:<10} lr {rate:g}: {scores}', flush=True)
        best = max(result['runs'][start].values(), key=statistics.mean)
        result[start] = dict(mean=round(statistics.mean(best), 1),
                             spread=round(max(best) - min(best), 1))
    (out / 'few_labels.json').write_text(json.dumps(result, indent=2) + '\n')
    return result


def pretrain(out: Path, epochs: int, processes: int) -> None:
    command = [str(ROOT / 'tools/dist_train.sh'), CONFIG, str(processes), '--data',
               str(out / 'images'), '--work-dir', str(out / 'run'), '--epochs', str(epochs)]
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


def main() -> None:
    parser = argparse.ArgumentParser(description='From photographs to a pre-trained encoder')
    parser.add_argument('--out', type=Path, default=Path('quickstart'))
    parser.add_argument('--epochs', type=int, default=24, help='of pre-training')
    parser.add_argument('--crops', type=int, default=80, help='training crops a photograph')
    parser.add_argument('--labels', type=int, default=2, help='labelled crops a photograph')
    parser.add_argument('--steps', type=int, default=60, help='of fine-tuning')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--processes', type=int, default=min(os.cpu_count() or 1, 2))
    args = parser.parse_args()
    os.chdir(ROOT)
    started = time.time()

    def stage(number: int, text: str) -> None:
        print(f'[{number}/4, {time.time() - started:.0f} s] {text}', flush=True)

    init_default_scope('mmpretrain')
    MMLogger.get_instance('quickstart', log_level='ERROR')  # no list of initialised weights
    stage(1, f'cutting crops of {len(PHOTOGRAPHS)} photographs of scikit-image')
    cut_crops(args.out, args.crops, test=20)
    stage(2, f'pre-training, {args.epochs} epochs, log in {args.out}/pretrain.log')
    pretrain(args.out, args.epochs, args.processes)
    stage(3, 'drawing')
    python = [sys.executable, '-W', 'ignore']
    checkpoint = args.out / f'run/epoch_{args.epochs}.pth'
    environment = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONWARNINGS='ignore')
    for command in (['tools/analysis/plot_log.py', str(args.out / 'run'), '--out',
                     str(args.out / 'loss_curve.png')],
                    ['tools/analysis/show_reconstruction.py', CONFIG, str(checkpoint),
                     str(args.out / 'test'), '--out', str(args.out / 'reconstruction.png')]):
        done = subprocess.run(python + command, check=True, env=environment, text=True,
                              stdout=subprocess.PIPE)
        print('\n'.join(line for line in done.stdout.splitlines() if 'OneDL' not in line))
    stage(4, f'fine-tuning with {args.labels} labels a photograph, from the checkpoint and from '
             f'scratch, {args.seeds} seeds')
    result = compare_few_labels(args.out, args.labels, args.steps, args.seeds)
    ours, scratch = result['checkpoint'], result['scratch']
    print(f'''
Done in {time.time() - started:.0f} s.
  {result['task']}, {args.labels} labels a class (chance {result['chance']:.1f} %):
    from the checkpoint  {ours['mean']} %  (spread over {args.seeds} seeds {ours['spread']})
    from scratch         {scratch['mean']} %  (spread {scratch['spread']})
    pre-training bought  {ours['mean'] - scratch['mean']:+.1f} points
  loss curve       {args.out}/loss_curve.png
  reconstructions  {args.out}/reconstruction.png
  this figure      {args.out}/few_labels.json
  encoder          {args.out}/run/encoder.pth
The same on your own images (any folder, nested or not):
  .venv/bin/python tools/train.py configs/wamim/vit_b_400e.py --data FOLDER''')


if __name__ == '__main__':
    main()
