"""Scores against numbers worked out by hand."""
import pytest
import torch

from mmwamim.evaluation import robustness as R


def test_alexnet_has_an_mce_of_100():
    errors = {name: [error] * 5 for name, error in R.ALEXNET_ERRORS.items()}
    assert len(R.CORRUPTIONS) == 15
    assert R.mean_corruption_error(errors) == pytest.approx(100)
    # Sum of the 15 errors by hand: 1183.5, so the plain mean is 78.9.
    assert R.mean_error(errors) == pytest.approx(78.9)


def test_mce_by_hand():
    """Fog: mean 40.95 of 81.9 = 50 %. Brightness: mean 22.6 of 56.5 = 40 %."""
    errors = dict(fog=[38.95, 39.95, 40.95, 41.95, 42.95],
                  brightness=[20.6, 21.6, 22.6, 23.6, 24.6])
    assert R.corruption_errors(errors) == pytest.approx(dict(fog=50, brightness=40))
    assert R.mean_corruption_error(errors) == pytest.approx(45)
    assert R.mean_error(errors) == pytest.approx((40.95 + 22.6) / 2)


@pytest.mark.parametrize('errors, message', [
    ({}, 'at least one corruption'), ({'rain': [1] * 5}, "'rain' is not one of"),
    ({'fog': [1] * 4}, 'fog needs 5 errors')])
def test_errors_that_cannot_be_averaged(errors, message):
    with pytest.raises(ValueError, match=message):
        R.mean_corruption_error(errors)


@pytest.mark.parametrize('row, average', [
    ((35.9, 48.3, 34.5, 51.7), 41.8), ((32.7, 48.6, 34.8, 47.5), 42.2),
    ((34.6, 50.9, 37.0, 48.5), 43.5)])
def test_average_score_of_the_papers_table(row, average):
    assert R.average_score(*row) == pytest.approx(average, abs=0.051)


def test_the_thousand_classes():
    wnids = R.read_wnids()
    assert len(wnids) == 1000 and wnids == sorted(wnids)
    # Well-known labels: tench, goldfish, tabby cat, balloon, toilet tissue.
    for label, wnid in {0: 'n01440764', 1: 'n01443537', 281: 'n02123045', 417: 'n02782093',
                        999: 'n15075141'}.items():
        assert wnids[label] == wnid


def test_subset_ignores_the_other_classes():
    wnids = ['n1', 'n2', 'n3', 'n4']
    classes = R.class_indices(['n2', 'n4'], wnids)
    assert classes == [1, 3]
    logits = torch.tensor([[9., 1, 0, 0], [0, 1, 9, 2], [0, 3, 0, 2]])
    labels = torch.tensor([1, 3, 3])
    assert R.count_correct(logits, labels) == 0
    assert R.count_correct(logits, labels, classes) == 2
    with pytest.raises(ValueError, match="folder 'n5' is not one of the 4 class ids"):
        R.class_indices(['n2', 'n5'], wnids)


def test_logits_that_are_not_finite():
    with pytest.raises(ValueError, match='not finite'):
        R.count_correct(torch.tensor([[0., float('nan')]]), torch.tensor([0]))


def test_wnids_file(tmp_path):
    file = tmp_path / 'wnids.txt'
    file.write_text('# mine\nn2\nn1 goldfish\n\n')
    assert R.read_wnids(file) == ['n2', 'n1']
    file.write_text('n2\nn2\n')
    with pytest.raises(ValueError, match='every class once'):
        R.read_wnids(file)
    with pytest.raises(FileNotFoundError, match='no file of class ids'):
        R.read_wnids(tmp_path / 'nothing')


def whole(top1=60.0, images=10):
    parts = {name: dict(top1=top1, images=images, classes=2) for name in R.VARIANTS}
    for name in R.CORRUPTIONS:
        for severity in R.SEVERITIES:
            parts[f'imagenet_c/{name}/{severity}'] = dict(top1=top1, images=images, classes=2)
    return parts


def test_summary():
    summary = R.summarize(whole())
    mce = 40 / 15 * sum(100 / error for error in R.ALEXNET_ERRORS.values())
    assert summary['imagenet_c']['mce'] == pytest.approx(mce)
    assert summary['imagenet_c']['mean_error'] == pytest.approx(40)
    assert not summary['imagenet_c']['partial']
    assert summary['average_score'] == pytest.approx((60 * 3 + 100 - mce) / 4)
    table = R.format_table(whole())
    assert 'average score' in table and 'PARTIAL' not in table and 'not comparable' in table


def test_summary_without_one_severity():
    parts = whole()
    del parts['imagenet_c/snow/4']
    summary = R.summarize(parts)
    assert summary['average_score'] is None and summary['imagenet_c']['partial']
    assert summary['imagenet_c']['corruptions'] == 14
    assert 'snow' not in summary['imagenet_c']['corruption_errors']
    assert summary['imagenet_c']['severity_errors']['snow'] == {1: 40, 2: 40, 3: 40, 5: 40}
    table = R.format_table(parts)
    assert 'PARTIAL, 14 of 15 corruptions: mCE' in table and 'average score' not in table


def test_summary_of_unequal_folders_is_partial():
    parts = whole()
    parts['imagenet_c/snow/4']['images'] = 9
    assert R.summarize(parts)['imagenet_c']['partial']
    assert R.summarize(parts)['average_score'] is None


def test_published_sizes_are_not_marked():
    parts = {'imagenet_a': dict(top1=35.4, images=7500, classes=200)}
    assert R.format_table(parts) == 'imagenet_a         top-1  35.40 %  7500 images in 200 classes'
