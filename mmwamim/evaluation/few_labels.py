"""What a few labels are enough for, from a pre-trained encoder and from scratch: a linear probe of
the frozen encoder, and fine-tuning of the stock mmpretrain VisionTransformer, with the same
labelled pictures, steps and seeds."""
import multiprocessing
import os
import statistics
import sys
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.errors import UserError
from mmwamim.machine.cores import granted_cores

from .judges import linear_accuracy

# Learning rate of each way, None where nothing is trained but a linear layer, to its optimum.
# On the digits of the quick start 1e-3 does as well from a checkpoint, and worse from scratch.
WAYS = {'linear probe': None, 'fine-tuning': 3e-4}


def choose(labels: Tensor, per_class: int, seed: int) -> Tensor:
    """The places of ``per_class`` pictures of each class."""
    rng = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=rng)
    return torch.cat([shuffled[labels[shuffled] == digit][:per_class] for digit in range(10)])


def build_classifier(cfg: Config, encoder: Optional[Path]) -> nn.Module:
    """Stock VisionTransformer with mean pooling and a linear layer, from encoder.pth or not."""
    settings = {key: cfg.model.backbone[key] for key in ('arch', 'img_size', 'patch_size')}
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        backbone = MODELS.build(dict(type='mmpretrain.VisionTransformer', out_type='avg_featmap',
                                     final_norm=False, **settings))
    backbone.init_weights()
    if encoder is not None:
        state = read_checkpoint(encoder)['state_dict']
        state = {name.removeprefix('backbone.'): value for name, value in state.items()}
        missing, unexpected = backbone.load_state_dict(state, strict=False)
        # The norm after pooling is new, the one before it is not used: nothing else may differ.
        unread = set(missing) ^ {'ln2.weight', 'ln2.bias'}
        unread |= set(unexpected) ^ {'ln1.weight', 'ln1.bias'}
        if unread:
            raise UserError(f'{encoder} does not fit {cfg.filename}: {", ".join(sorted(unread))}')
    return nn.ModuleDict(dict(
        backbone=backbone, head=nn.Linear(backbone.embed_dims, 10)))


def jitter(images: Tensor, rng: torch.Generator) -> Tensor:
    """Turns, scales and moves each picture (B, C, H, W) a little, as handwriting varies."""
    turn, scale, across, down = (torch.rand(4, len(images), generator=rng) - 0.5) \
        * torch.tensor([0.4, 0.3, 0.25, 0.25])[:, None]
    rows = [torch.stack([turn.cos() * (1 + scale), -turn.sin(), across], 1),
            torch.stack([turn.sin(), turn.cos() * (1 + scale), down], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), images.shape, align_corners=False)
    return F.grid_sample(images, grid, padding_mode='border', align_corners=False)


def fine_tune(model: nn.Module, train: tuple, test: tuple, steps: int, rate: float,
              seed: int) -> float:
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
def pooled(backbone: nn.Module, images: Tensor) -> Tensor:
    """Mean-pooled features (N, C) of pictures (N, 3, SIZE, SIZE)."""
    backbone.eval()
    return torch.cat([backbone(part)[0] for part in images.split(200)])


def compare_few_labels(cfg: Config, encoder: Path, splits: Dict[str, Tuple[Tensor, Tensor]],
                       per_class: int = 2, steps: int = 50, seeds: int = 5) -> dict:
    """Probes and fine-tunes from both starts over the seeds.

    Args:
        cfg: Of pre-training: backbone and preprocessor are taken from it.
        encoder: encoder.pth of that config.
        splits: 'train' and 'test': pictures, uint8 (N, 3, H, W), and their classes, int64 (N,),
            from 0 to 9.
        per_class: Labelled pictures of each class.
        steps: Of fine-tuning.
        seeds: Of labelled pictures, new layers and augmentation.

    Returns:
        The task, every score, and for 'checkpoint' and 'scratch' mean and spread of both ways.
    """
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        preprocessor = MODELS.build(cfg.data_preprocessor)
    splits = {name: (preprocessor(dict(inputs=pictures, data_samples=None))['inputs'], labels)
              for name, (pictures, labels) in splits.items()}
    test = splits['test']
    result = dict(task=f'which digit, {per_class} labels each, {len(test[1])} test digits of other '
                  'writers', labels_per_class=per_class, steps=steps, chance=10.,
                  metric='top-1 %, a number for each seed: of labelled pictures, new layers and '
                  'augmentation', runs={})
    score = partial(_score, cfg, splits, per_class, steps)
    with _cores(score, 2 * seeds) as pool:
        waiting = {start: [pool.submit(_scored, weights, seed) for seed in range(seeds)]
                   for start, weights in (('checkpoint', encoder), ('scratch', None))}
        for start, found in waiting.items():
            scores = [one.result() for one in found]
            runs: Dict[str, List[float]] = {way: [one[way] for one in scores] for way in WAYS}
            result['runs'][start] = runs
            for way, accuracies in runs.items():
                print(f'  from {start:<10} {way}: {accuracies}', flush=True)
            result[start] = {way: summary(accuracies) for way, accuracies in runs.items()}
    return result


def _cores(score: Callable, most: int) -> Executor:
    """A process of one thread a core: matrices as small as these gain nothing from two threads.

    Args:
        score: What :func:`_scored` calls there; the pictures in it are shared, not sent.
        most: Processes.
    """
    if not _can_fork():
        return ThreadPoolExecutor(1, initializer=_begin, initargs=(score, torch.get_num_threads()))
    return ProcessPoolExecutor(min(granted_cores(), most), multiprocessing.get_context('fork'),
                               _begin, (score, 1))


def _can_fork() -> bool:
    """Whether a fork of this process can train. Not outside of Linux, where a fork may break the
    system's matrix product, and not after a backward that started threads for a GPU."""
    if sys.platform != 'linux':
        return False
    child = os.fork()
    if not child:
        code = 1
        with suppress(RuntimeError):
            torch.ones(1, requires_grad=True).sum().backward()
            code = 0
        os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def _begin(score: Callable, threads: int) -> None:
    torch.set_num_threads(threads)
    _scored.by = score


def _scored(encoder: Optional[Path], seed: int) -> Dict[str, float]:
    return _scored.by(encoder, seed)


def _score(cfg: Config, splits: dict, per_class: int, steps: int, encoder: Optional[Path],
           seed: int) -> Dict[str, float]:
    """The accuracy of each way."""
    (images, labels), test = splits['train'], splits['test']
    chosen = choose(labels, per_class, seed)
    train, scores = (images[chosen], labels[chosen]), {}
    for way, rate in WAYS.items():
        torch.manual_seed(seed)
        model = build_classifier(cfg, encoder)
        if rate:
            found = fine_tune(model, train, test, steps, rate, seed)
        else:
            found = linear_accuracy(pooled(model.backbone, train[0]), train[1],
                                    pooled(model.backbone, test[0]), test[1])
        scores[way] = round(found, 1)
    return scores


def summary(scores: List[float]) -> dict:
    return dict(mean=round(statistics.mean(scores), 1),
                spread=round(max(scores) - min(scores), 1))
