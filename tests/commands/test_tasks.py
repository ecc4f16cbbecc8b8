"""probe, embed, finetune, export and show on the encoder of a tiny run."""
import copy
import hashlib
import json
import shutil
import tarfile

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from PIL import Image

import mmwamim
from mmwamim.commands.finetune import settle_fields
from mmwamim.commands.main import main
from mmwamim.commands.recipes import encoder_fields, recipe_for
from mmwamim.commands.show import show
from mmwamim.commands.test import evaluate
from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.export.programs import load_encoder, run_config
from mmwamim.engine.training.measure import build_step
from mmwamim.errors import UserError
from mmwamim.models.targets import WaveletTargetGenerator
from tests.commands.conftest import SMALL
from tests.support.commands import ROOT
from tests.support.models import save_encoder
from tests.support.small_data import make_classes, make_images


@pytest.fixture(scope='module')
def classes(tmp_path_factory):
    return make_classes(tmp_path_factory.mktemp('classes') / 'pets', 2, 6, 4)


def test_probe_agrees_with_embed_and_a_slow_vote(pretrained, classes, tmp_path):
    found = mmwamim.probe(pretrained.encoder, classes, k=(3, ), workers=0, most=8,
                          out=tmp_path / 'x.json')
    assert json.loads((tmp_path / 'x.json').read_text()) == found
    splits = {}
    for split in ('train', 'val'):
        embedded = mmwamim.embed(pretrained.encoder, classes / split, workers=0)
        assert embedded.file is None and embedded.features.dtype == np.float32
        assert all((classes / split / path).is_file() for path in embedded.paths)
        chosen = [number * len(embedded.paths) // 8 for number in range(8)]
        splits[split] = (embedded.features[chosen],
                         [embedded.paths[number].split('/')[0] for number in chosen])
    (known, names), (asked, truth) = splits['train'], splits['val']
    right = 0
    for feature, name in zip(asked, truth):
        cosine = [float(feature @ other / np.linalg.norm(feature) / np.linalg.norm(other))
                  for other in known]
        votes = dict.fromkeys(names, 0.)
        for place in sorted(range(8), key=lambda place: -cosine[place])[:3]:
            votes[names[place]] += np.exp(cosine[place] / 0.07)
        right += max(votes, key=votes.get) == name
    assert found['knn_top1_k3'] == pytest.approx(100 * right / 8)
    assert found['train_images'] == found['val_images'] == 8 and 'linear_top1' in found


def test_columns_and_shards_give_what_the_folder_gives(pretrained, classes, tmp_path):
    with tarfile.open(tmp_path / 'train.tar.gz', 'w:gz') as shard:
        for split in ('train', 'val'):
            paths = sorted((classes / split).glob('*/*'))
            (tmp_path / f'{split}.csv').write_text('\n'.join(['where,kind', *(
                f'{path},{path.parent.name}' for path in paths)]))
            for path in paths if split == 'train' else ():
                shard.add(path, f'{path.parent.name}/{path.name}')
    options = dict(k=(3, ), workers=0, linear=False)
    expected = mmwamim.probe(pretrained.encoder, classes, **options)
    assert mmwamim.probe(pretrained.encoder, tmp_path, column='where', label_column='kind',
                         **options) == expected
    folder = mmwamim.embed(pretrained.encoder, classes / 'train', workers=0)
    for place, column in (('train.csv', 'where'), ('train.tar.gz', None)):
        found = mmwamim.embed(pretrained.encoder, tmp_path / place, column=column, workers=0)
        np.testing.assert_array_equal(found.features, folder.features)
    assert found.paths == [f'train.tar.gz/{path}' for path in folder.paths]
    run = mmwamim.finetune(pretrained.encoder, tmp_path, column='where', label_column='kind',
                           epochs=1, batch_size=4, workers=0, out=tmp_path / 'ft')
    assert read_checkpoint(run.checkpoint)['meta']['dataset_meta']['classes'] == tuple(
        sorted(path.name for path in (classes / 'train').iterdir()))


def test_four_channels_from_pretraining_to_fine_tuning(tmp_path):
    """NumPy files, by the commands alone; the pictures are drawn, too."""
    draw = np.random.default_rng(0)
    for split in ('train', 'val'):
        for kind in ('a', 'b'):
            (tmp_path / 'data' / split / kind).mkdir(parents=True)
            for number in range(4):
                np.save(tmp_path / 'data' / split / kind / f'{number}.npy',
                        draw.integers(0, 256, (40, 44, 4), dtype=np.uint8))
    run = mmwamim.pretrain(
        tmp_path / 'data', arch='vit_tiny', epochs=1, workers=0, batch_size=4, image_size=32,
        out=tmp_path / 'run', channels=4, data_preprocessor=dict(mean=[127.] * 4, std=[60.] * 4),
        **copy.deepcopy(SMALL))
    assert [path.name for path in run.pictures] == ['loss_curve.png', 'reconstruction.png']
    assert show(run.folder, images=tmp_path / 'data/val/a', out=tmp_path)[-1].is_file()
    found = mmwamim.embed(run.encoder, tmp_path / 'data', workers=0)
    assert found.features.shape == (16, 32) and found.paths[0] == 'train/a/0.npy'
    direct = mmwamim.load_encoder(run.encoder).embed(tmp_path / 'data')
    np.testing.assert_allclose(found.features, direct, rtol=0, atol=1e-5)
    scores = mmwamim.probe(run.encoder, tmp_path / 'data', k=(1, ), workers=0, linear=False)
    assert scores['train_images'] == scores['val_images'] == 8
    tuned = mmwamim.finetune(run.encoder, tmp_path / 'data', epochs=1, batch_size=4, workers=0,
                             out=tmp_path / 'tuned')
    state = read_checkpoint(tuned.checkpoint)['state_dict']
    assert state['backbone.patch_embed.projection.weight'].shape[1] == 4


def test_finetuning_takes_the_encoder_and_its_geometry(pretrained, classes, tmp_path, capsys):
    run = mmwamim.finetune(pretrained.encoder, classes, epochs=1, batch_size=4, workers=0,
                           out=tmp_path / 'ft', **{'optim_wrapper.optimizer.lr': 0.,
                                                   'val_dataloader.batch_size': 3})
    # At a rate of 0 nothing moves, so the checkpoint still has the encoder, to the bit.
    there = read_checkpoint(run.checkpoint)['state_dict']
    ours = read_checkpoint(pretrained.encoder)['state_dict']
    same = [name for name in ours if name in there and torch.equal(ours[name], there[name])]
    assert set(ours) - set(same) <= {'backbone.ln1.weight', 'backbone.ln1.bias'}
    assert there['head.fc.weight'].shape == (2, 32)
    cfg = Config.fromfile(run.config)
    assert cfg.val_dataloader.dataset.pipeline[2].crop_size == 32
    assert cfg.val_dataloader.dataset.pipeline[1].scale == 37 and not run.encoder
    capsys.readouterr()
    again = evaluate(run.config, run.checkpoint, work_dir=tmp_path / 'test')
    assert again['accuracy/top1'] == pytest.approx(run.metrics['accuracy/top1'])
    # The next command of finetune says as little as finetune itself.
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 10 and 'accuracy/top1' in lines[-1]
    check_fine_tuned(run, classes, tmp_path)


def check_fine_tuned(run, classes, tmp_path):
    """A fine-tuned encoder gives the features that its classifier is given."""
    state = read_checkpoint(run.checkpoint)['state_dict']
    norm = {name: torch.randn(32) for name in ('backbone.ln2.weight', 'backbone.ln2.bias')}
    whole = torch.load(run.checkpoint, weights_only=False)
    torch.save(dict(whole, state_dict=dict(state, **norm)), tmp_path / 'tuned.pth')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        classifier = MODELS.build(Config.fromfile(run.config).model).eval()
    classifier.load_state_dict(dict(state, **norm))
    encoder = mmwamim.load_encoder(tmp_path / 'tuned.pth')
    pictures = torch.randn(3, 3, 32, 32)
    wanted, = classifier.extract_feat(pictures)
    torch.testing.assert_close(encoder(pictures), wanted, rtol=0, atol=1e-5)
    embedded = mmwamim.embed(tmp_path / 'tuned.pth', classes / 'val', workers=0)
    np.testing.assert_allclose(embedded.features, encoder.embed(classes / 'val'), atol=1e-5)
    for form in ('transformers', 'onnx.onnx'):
        with pytest.raises(UserError, match='after the pooling.*timm, mmpretrain or safetensors'):
            mmwamim.export(tmp_path / 'tuned.pth', form.split('.')[0], tmp_path / form)
    card = mmwamim.export(tmp_path / 'tuned.pth', 'mmpretrain', tmp_path / 'ours.pth').card
    assert 'Fine-tuned with labels by mmwamim' in card.read_text()
    ours = torch.load(tmp_path / 'ours.pth', weights_only=True)
    assert torch.equal(ours['ln2.weight'], norm['backbone.ln2.weight'])


@pytest.mark.parametrize('source, recipe, width', [
    ('vit_s_100e', 'vit_s_ft_200e', 384), ('vit_b_100e', 'vit_b_ft_100e', 768),
    ('swin_b_100e', 'swin_b_ft_100e', 1024)])
def test_the_recipe_of_each_encoder_is_that_of_its_own_config(source, recipe, width, tmp_path):
    """For the encoders of the paper nothing but what is the same changes."""
    save_encoder(tmp_path / 'encoder.pth', f'configs/wamim/{source}.py')
    encoder, cfg = load_encoder(tmp_path / 'encoder.pth'), run_config(tmp_path / 'encoder.pth')
    assert recipe_for(encoder, cfg) == recipe
    theirs = Config.fromfile(ROOT / f'configs/classification/{recipe}.py')
    before = theirs.to_dict()
    fields = encoder_fields(theirs, encoder, cfg)
    theirs.merge_from_dict(fields)
    assert fields['model.head.in_channels'] == width
    assert {name: value for name, value in theirs.to_dict()['model']['head'].items()} == \
        before['model']['head']
    for loader in ('train_dataloader', 'val_dataloader'):
        assert theirs.to_dict()[loader] == before[loader]
    assert theirs.data_preprocessor == before['data_preprocessor']


def test_show_draws_the_run_a_checkpoint_and_an_image(pretrained, images, tmp_path):
    both = show(pretrained.folder, most=2, out=tmp_path)
    assert [path.name for path in both] == ['loss_curve.png', 'reconstruction.png']
    one, same, other = (show(pretrained.checkpoint, images=images, most=2, seed=seed,
                             out=tmp_path / f'{name}.png')[0].read_bytes()
                        for name, seed in (('a', 0), ('b', 0), ('c', 1)))
    assert one == same == both[1].read_bytes() and one != other  # other masks
    picture, = show(images / '000.png', level=3, out=tmp_path / 'w.png')
    assert picture.stat().st_size > 1000
    with pytest.raises(UserError, match='Take a full checkpoint'):
        show(pretrained.encoder, images=images)
    with pytest.raises(UserError, match='must be work directories'):
        show([images / '000.png', images / '001.png'])


def test_losses_are_drawn_where_pictures_cannot_be(pretrained, tmp_path, capsys, monkeypatch):
    monkeypatch.delattr(WaveletTargetGenerator, 'reconstruct')
    assert [path.name for path in show(pretrained.folder, out=tmp_path)] == ['loss_curve.png']
    assert 'no inverse transform to draw' in capsys.readouterr().out
    with pytest.raises(UserError, match='no inverse transform'):
        show(pretrained.checkpoint, out=tmp_path / 'x.png')


def test_export_says_how_to_load_it_and_the_card_how_it_was_made(pretrained, tmp_path, capsys):
    timm = pytest.importorskip('timm')
    out = tmp_path / 'vit.pth'
    done = mmwamim.export(pretrained.encoder, 'timm', out)
    model = eval(done.how_to_load, dict(timm=timm))
    assert model.embed_dim == 32 and done.card.read_text().count('mmwamim export') == 1
    main(['export', str(pretrained.encoder), '--to', 'timm', '--out', str(out)])
    assert done.how_to_load in capsys.readouterr().out
    with pytest.raises(UserError, match="there is no format 'tim'"):
        mmwamim.export(pretrained.encoder, 'tim', out)


def test_a_preprocessor_inside_the_model_is_the_same(pretrained, classes, tmp_path):
    cfg = run_config(pretrained.encoder, None)
    cfg.model.data_preprocessor = cfg.pop('data_preprocessor')
    cfg.dump(tmp_path / 'inside.py')
    inside = dict(config=tmp_path / 'inside.py', workers=0)
    features = [mmwamim.embed(pretrained.encoder, classes / 'val', **given).features
                for given in (dict(workers=0), inside)]
    assert np.array_equal(*features) and features[0].std() > 0
    found = [mmwamim.probe(pretrained.encoder, classes, linear=False, **given)
             for given in (dict(workers=0), inside)]
    assert found[0] == found[1]
    assert build_step(Config.fromfile(tmp_path / 'inside.py'), 2).forward().isfinite()


def part_by_hand(root, out):
    """The same split with files: val/ holds what is held out."""
    for folder in sorted(root.iterdir()):
        files = sorted(folder.iterdir(), key=lambda path: hashlib.blake2b(
            f'{folder.name}/{path.name}'.encode(), digest_size=8).digest())
        for number, path in enumerate(files):
            target = out / ('val' if number < len(files) // 5 else 'train') / folder.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return out


@pytest.mark.parametrize('inside', ['', 'train'])
def test_classes_without_a_split_are_parted_as_if_by_hand(pretrained, inside, tmp_path, capsys):
    root = tmp_path / 'pets' / inside
    for name in range(2):
        make_images(root / f'class{name}', 10 + 5 * name, 32 + name)  # of different sizes
    parted = part_by_hand(root, tmp_path / 'parted')
    found = mmwamim.probe(pretrained.encoder, tmp_path / 'pets', k=(3, ), workers=0)
    assert '20% of each class' in capsys.readouterr().err
    assert found.pop('held_out') == 0.2 and found['val_images'] == 5
    assert found == mmwamim.probe(pretrained.encoder, parted, k=(3, ), workers=0)
    if inside:
        return
    fields = dict(epochs=1, batch_size=4, workers=0)
    ours, theirs = (mmwamim.finetune(pretrained.encoder, data, out=tmp_path / f'ft_{data.name}',
                                     **fields) for data in (tmp_path / 'pets', parted))
    assert ours.metrics['accuracy/top1'] == theirs.metrics['accuracy/top1']
    assert ours.metrics['loss'] == theirs.metrics['loss']
    log = ours.log.read_text()
    assert '20 of them, without the 20% of each class that are held out' in log
    assert '5 of them, 20% of each class, held out' in log
    table = tmp_path / 'pets/all.csv'
    table.write_text('path,label\n' + ''.join(
        f'{path.relative_to(root)},{path.parent.name}\n' for path in sorted(root.rglob('*.png'))))
    capsys.readouterr()
    listed = mmwamim.finetune(pretrained.encoder, table, out=tmp_path / 'listed', **fields)
    assert listed.metrics['loss'] == ours.metrics['loss']
    assert listed.metrics['accuracy/top1'] == ours.metrics['accuracy/top1']
    assert capsys.readouterr().out.count('20% of each class of') == 1
    assert '5 of them, 20% of each class, held out' in listed.log.read_text()
    assert mmwamim.probe(pretrained.encoder, table, k=(3, ), workers=0)['held_out'] == 0.2
    longer = mmwamim.finetune(pretrained.encoder, tmp_path / 'pets', out=ours.folder, resume=True,
                              **dict(fields, epochs=2))
    assert '20 of them, without' in longer.log.read_text()
    again = evaluate(longer.config, longer.checkpoint, work_dir=tmp_path / 'test')
    assert again['accuracy/top1'] == pytest.approx(longer.metrics['accuracy/top1'])


def test_images_without_classes_are_told(pretrained, images):
    with pytest.raises(UserError, match='or give classes alone, .*/<class>/'):
        mmwamim.finetune(pretrained.encoder, images)


def test_what_is_given_as_a_field_is_not_chosen_beside_it(pretrained, classes, capsys):
    """Neither printed nor used otherwise; validation has the workers of training."""
    encoder, source = load_encoder(pretrained.encoder), run_config(pretrained.encoder)
    fields = {'train_dataloader.num_workers': 3, 'optim_wrapper.accumulative_counts': 4}
    recipe = Config.fromfile(ROOT / f'configs/classification/{recipe_for(encoder, source)}.py')
    changed = settle_fields(recipe, encoder, source, classes, fields, epochs=1, batch_size=2,
                            workers=None)
    printed = capsys.readouterr().out
    assert 'workers' not in printed and 'learning rate' in printed
    assert changed['val_dataloader.num_workers'] == changed['test_dataloader.num_workers'] == 3
    # Four steps of two images are an update of eight.
    assert changed['optim_wrapper.optimizer.lr'] == pytest.approx(1e-3 * (8 / 32)**0.5, rel=2e-3)


def test_files_of_the_user_are_not_written_over(pretrained, tmp_path):
    encoder = shutil.copy(pretrained.encoder, tmp_path / 'encoder.pth')
    before = encoder.read_bytes()
    with pytest.raises(UserError, match='encoder.pth. is what is read, and would be lost'):
        mmwamim.export(encoder, 'mmpretrain', encoder)
    (tmp_path / 'notes.pth.md').write_text('# Mine\n')
    with pytest.raises(UserError, match='notes.pth.md., where the model card goes, is a text'):
        mmwamim.export(encoder, 'timm', tmp_path / 'notes.pth')
    assert encoder.read_bytes() == before and not (tmp_path / 'notes.pth').exists()
    assert (tmp_path / 'notes.pth.md').read_text() == '# Mine\n'
    for _ in range(2):  # a card of before is replaced
        card = mmwamim.export(encoder, 'timm', tmp_path / 'vit.pth').card
    assert 'Pre-trained without labels by mmwamim' in card.read_text()
    other = mmwamim.export(encoder, 'safetensors', tmp_path / 'vit.safetensors').card
    assert other != card and other.is_file()  # each file has its own
    Image.new('RGB', (64, 64)).save(tmp_path / 'cat.png')
    with pytest.raises(UserError, match='cat.png. is what is read'):
        show(tmp_path / 'cat.png', out=tmp_path / 'cat.png')


def test_images_that_nothing_would_reconstruct_are_refused(pretrained, images, tmp_path):
    for what in ([pretrained.folder] * 2, next(images.iterdir())):
        with pytest.raises(UserError, match='reconstructed by one run or checkpoint'):
            show(what, images=images, out=tmp_path / 'x')
