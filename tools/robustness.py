"""Scores a classifier on ImageNet-A, -R, -Sketch and -C: tools/robustness.py CONFIG CHECKPOINT.

Every evaluated folder goes into OUT/robustness.json at once; the same command goes on from there.
"""
import argparse
import hashlib
import json
import os
import time
from functools import partial
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence

import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, init_default_scope
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mmwamim.datasets.listing import shortened
from mmwamim.datasets.splits import list_labelled
from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.config.data import checkpoint_classes, settle_reading
from mmwamim.engine.config.reading import read_config
from mmwamim.errors import MissingFile, UserError, told_in_one_line
from mmwamim.evaluation import robustness
from mmwamim.evaluation.features import default_workers

DATA = (*robustness.VARIANTS, 'imagenet_c')


class Listing(NamedTuple):
    """The images of a part."""
    paths: List[str]
    labels: List[int]
    classes: List[int]
    digest: str  # of names and sizes in bytes: other images are evaluated anew


class Pictures(Dataset):
    """Images through a test pipeline, without its resizing where an image is the crop already."""

    def __init__(self, listing: Listing, pipeline: Sequence[dict], cropped: bool) -> None:
        kinds = [step['type'].replace('/', '.').split('.')[-1] for step in pipeline]
        crops = [step.get('crop_size', step.get('size'))
                 for step, kind in zip(pipeline, kinds) if kind == 'CenterCrop']
        size = crops[-1] if cropped and crops else None
        self.crop = (size, size) if isinstance(size, int) else size and tuple(size)
        self.listing = listing
        self.full = Compose(pipeline)
        self.without_resize = Compose([
            step for step, kind in zip(pipeline, kinds) if kind not in ('Resize', 'ResizeEdge')])

    def __len__(self) -> int:
        return len(self.listing.paths)

    def __getitem__(self, index: int) -> dict:
        path = self.listing.paths[index]
        pipeline = self.full
        if self.crop is not None:
            with Image.open(path) as image:  # reads the header alone
                if image.size == self.crop:
                    pipeline = self.without_resize
        return pipeline(dict(img_path=path, gt_label=self.listing.labels[index]))


def list_images(part: robustness.Part, wnids: Sequence[str]) -> Listing:
    """The images of a part, by class folder and name.

    Raises:
        UserError: A folder is named by no class, or there is no image.
    """
    found = list_labelled(part.folder)
    try:
        classes = robustness.class_indices(found.classes, wnids)
    except ValueError as error:
        raise UserError(f'{part.folder}: {error}') from None
    paths, digest = [], hashlib.sha256()
    for path in found.images.paths:
        paths.append(str(part.folder / path))
        size = os.path.getsize(paths[-1])
        digest.update(f'{path} {size}\n'.encode(errors='surrogateescape'))
    return Listing(paths, [classes[label] for label in found.labels], classes, digest.hexdigest())


def load_classifier(cfg: Config, checkpoint: str, device: str) -> torch.nn.Module:
    """The config's model with every weight of the checkpoint, ready for evaluation.

    Raises:
        MissingFile: There is no such checkpoint.
        UserError: It cannot be read, or does not fit the config.
    """
    init_default_scope('mmpretrain')
    model = MODELS.build({'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model})
    missing, left = model.load_state_dict(read_checkpoint(checkpoint)['state_dict'], strict=False)
    if missing or left:
        raise UserError(f'{checkpoint!r} does not fit the config: {len(missing)} weights missing '
                         f'{missing[:3]}, {len(left)} left over {left[:3]}')
    model.to(device)
    model.eval()  # VisionTransformer's eval() returns None
    return model


@torch.inference_mode()
def evaluate(model: torch.nn.Module, loader: DataLoader, classes: Optional[Sequence[int]],
             outputs: int, on_batch) -> int:
    """Correctly classified images of a loader; calls ``on_batch(images so far)``."""
    correct = seen = 0
    for batch in loader:
        batch = model.data_preprocessor(batch)
        logits = model(batch['inputs'], mode='tensor')
        if logits.shape[1] != outputs:
            raise UserError(f'the classifier has {logits.shape[1]} outputs, but {outputs} class '
                             'ids were given: --wnids FILE names them in order')
        labels = torch.cat([sample.gt_label for sample in batch['data_samples']])
        correct += robustness.count_correct(logits, labels, classes)
        seen += len(labels)
        on_batch(seen)
    return correct


class Progress:
    """Prints every few seconds how far it is and how long the rest will take."""

    def __init__(self, parts: int, every: float = 10.0) -> None:
        self.parts, self.every = parts, every
        self.part, self.images, self.started = 0, 0, time.monotonic()
        self.printed = self.started

    def report(self, name: str, seen: int, size: int, ahead: int) -> None:
        """``seen`` of ``size`` images of a part are done, about ``ahead`` come after it."""
        now = time.monotonic()
        if now - self.printed < self.every and seen < size:
            return
        rate = (self.images + seen) / max(now - self.started, 1e-9)
        left = int((size - seen + ahead) / rate)
        print(f'{name}: {seen} of {size} images, part {self.part} of {self.parts}, about '
              f'{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left', flush=True)
        self.printed = now


class Record:
    """robustness.json: what has been evaluated, of one checkpoint with one config.

    Raises:
        UserError: The file holds results of another checkpoint or config.
    """

    def __init__(self, path: Path, identity: dict) -> None:
        self.path, self.identity, self.parts = path, identity, {}
        if path.is_file():
            content = json.loads(path.read_text())
            if content['identity'] != identity:
                raise UserError(f'{path} holds results of another checkpoint, config or list of '
                                 'classes: give another --out')
            self.parts = content['parts']

    def write(self) -> None:
        """In one step, so that an interruption leaves the old file or the new one."""
        content = dict(identity=self.identity, parts=self.parts,
                       summary=robustness.summarize(self.parts))
        temporary = self.path.with_suffix('.tmp')
        temporary.write_text(json.dumps(content, indent=1) + '\n')
        os.replace(temporary, self.path)


def read_classes(file: Optional[str], trained: Optional[Sequence[str]]) -> List[str]:
    """Class ids in the order of the classifier's outputs.

    Args:
        file: What --wnids names.
        trained: The class folders that the checkpoint was trained on, where it says so.

    Raises:
        UserError: The two differ.
    """
    wnids = robustness.read_wnids(file or robustness.WNIDS)
    if trained is None or list(trained) == wnids:
        return wnids
    if file is None:
        return list(trained)
    raise UserError(f'{file} has the classes {shortened(wnids)}, but the checkpoint was trained '
                     f'on {shortened(trained)}: leave --wnids out')


def file_digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def identify(cfg: Config, pipeline: Sequence[dict], checkpoint: str, wnids: List[str]) -> dict:
    """What results depend on besides the images."""
    config = [cfg.model.to_dict(), cfg.get('data_preprocessor'), pipeline, wnids]
    return dict(checkpoint=Path(checkpoint).name, bytes=os.path.getsize(checkpoint),
                sha256=file_digest(checkpoint),
                config_sha256=hashlib.sha256(repr(config).encode()).hexdigest())


def run(args: argparse.Namespace, cfg: Config, folders: dict) -> dict:
    """Evaluates what is not in robustness.json yet and returns all parts that are in it then."""
    trained = checkpoint_classes(read_checkpoint(args.checkpoint))
    wnids = read_classes(args.wnids, trained)
    parts = robustness.find_parts(folders, args.partial)
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if loader is None:
        raise UserError('the config has neither test_dataloader nor val_dataloader')
    settle_reading(cfg)
    pipeline = [step.to_dict() for step in loader.dataset.pipeline]
    record = Record(Path(args.out) / 'robustness.json',
                    identify(cfg, pipeline, args.checkpoint, wnids))
    model = load_classifier(cfg, args.checkpoint, args.device)

    pending = [part for part in parts if part.name not in record.parts
               or record.parts[part.name]['data'] != list_images(part, wnids).digest]
    for part in pending:
        record.parts.pop(part.name, None)
    print(f'{len(parts) - len(pending)} of {len(parts)} parts were evaluated before', flush=True)
    # The folders of ImageNet-C hold the same images, so the first one's size is that of all.
    first = {part.name.split('/')[0]: part for part in reversed(pending)}
    sizes = {name: len(list_images(part, wnids).paths) for name, part in first.items()}
    progress = Progress(len(pending))
    for number, part in enumerate(pending, 1):
        listing = list_images(part, wnids)
        size = len(listing.paths)
        if part.cropped and not args.partial:
            if not robustness.same_size({**record.parts, part.name: dict(images=size)}):
                raise UserError(f'{part.folder} has {size} images, unlike the folders before it; '
                                 '--partial evaluates it all the same')
        ahead = sum(sizes[later.name.split('/')[0]] for later in pending[number:])
        data = DataLoader(Pictures(listing, pipeline, part.cropped), args.batch_size,
                          num_workers=args.workers, collate_fn=pseudo_collate)
        progress.part = number
        correct = evaluate(
            model, data, listing.classes if part.subset else None, len(wnids),
            partial(progress.report, part.name, size=size, ahead=ahead))
        progress.images += size
        record.parts[part.name] = dict(top1=100 * correct / size, correct=correct, images=size,
                                       classes=len(listing.classes), data=listing.digest)
        record.write()
    record.write()
    return record.parts


def parse_args(arguments: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Robustness of an ImageNet classifier')
    parser.add_argument('config', help='config of a mmpretrain ImageClassifier')
    parser.add_argument('checkpoint', help='checkpoint of that config')
    for name in DATA:
        layout = '<corruption>/<severity>/<wnid>/*' if name == 'imagenet_c' else '<wnid>/*'
        parser.add_argument('--' + name.replace('_', '-'), metavar='DIR',
                            help=f'folder with {layout}; otherwise robustness.{name} of the '
                            'config, if that folder is there')
    parser.add_argument('--out', required=True, metavar='DIR', help='where robustness.json goes')
    parser.add_argument('--partial', action='store_true',
                        help='evaluate an ImageNet-C that lacks folders or images')
    parser.add_argument('--wnids', metavar='FILE',
                        help='class ids in the order of the outputs (those that the checkpoint was '
                        'trained on, or of ImageNet-1K)')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--workers', type=int, default=default_workers(),
                        help='processes that read images')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    return parser.parse_args(arguments)


def find_folders(args: argparse.Namespace, cfg: Config) -> dict:
    """Data folders by name: the command line's, which must be there, or else the config's.

    Raises:
        MissingFile: A folder of the command line is missing, or there is none at all.
    """
    defaults = cfg.get('robustness', {})
    folders = {}
    for name in DATA:
        given, default = getattr(args, name), defaults.get(name)
        if given is not None and not Path(given).is_dir():
            raise MissingFile(f'there is no folder {given!r} (--{name.replace("_", "-")})')
        if given is None and default is not None and not Path(default).is_dir():
            print(f'skipping {name}: there is no folder {default!r}')
            continue
        if given or default:
            folders[name] = given or default
    if not folders:
        options = ', '.join('--' + name.replace('_', '-') for name in DATA)
        raise MissingFile(f'there is nothing to evaluate: give {options}')
    return folders


@told_in_one_line()
def main(arguments: Optional[Sequence[str]] = None) -> None:
    args = parse_args(arguments)
    cfg = read_config(args.config)
    folders = find_folders(args, cfg)
    Path(args.out).mkdir(parents=True, exist_ok=True)
    parts = run(args, cfg, folders)
    print(robustness.format_table(parts))
    print(f'wrote {Path(args.out) / "robustness.json"}')


if __name__ == '__main__':
    main()
