"""mmdet's COCO data set and metric, with labels by the names of the classes.

Needs mmdet, so ``mmwamim.datasets`` does not import it; the data sets of a detection config are
settled on these by ``mmwamim.engine.config.data``.
"""
import copy
from typing import List, Optional

import numpy as np
from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation import CocoMetric

from mmwamim.registry import DATASETS, METRICS

from .annotations import category_ids
from .unreadable import ReplacesUnreadable


class CategoriesByName(COCO):
    """pycocotools' index, which gives ids in the order in which they are asked for."""

    def get_cat_ids(self, cat_names=(), sup_names=(), cat_ids=()) -> List[int]:
        return category_ids(self.dataset['categories'], cat_names)


@DATASETS.register_module()
class CocoInstances(ReplacesUnreadable, CocoDataset):
    """mmdet's ``CocoDataset``, whose labels count in ``metainfo['classes']`` whatever the order of
    the file, and which goes on without images that cannot be read.

    Args:
        max_unreadable: Share of the images, from 0 to 1, that may turn out unreadable. In training
            another image takes the place; in evaluation (``test_mode``) a black one, in which
            nothing will be found.
        **dataset: Fields of mmdet's ``CocoDataset``.
    """
    COCOAPI = CategoriesByName

    def __init__(self, *args, max_unreadable: float = 0.01, **dataset) -> None:
        self.check_share(max_unreadable)
        super().__init__(*args, **dataset)
        self.count_unreadable(max_unreadable)

    def prepare_data(self, index: int) -> Optional[dict]:
        data = super().prepare_data(index)
        if data is not None or not self.test_mode:
            return data
        results = copy.deepcopy(self.get_data_info(index))
        size = (results['height'], results['width'])
        results.update(img=np.zeros((*size, 3), np.uint8), img_shape=size, ori_shape=size)
        for step in self.pipeline.transforms[1:]:  # the first one reads the image
            results = step(results)
        return results


@METRICS.register_module()
class CocoInstanceMetric(CocoMetric):
    """mmdet's ``CocoMetric`` for :class:`CocoInstances`.

    pycocotools takes an annotation with the id 0 for none, and so counts what finds it as wrong:
    ids are raised by one where that occurs. It needs ``iscrowd``, which other tools leave out: an
    annotation without it is none of a crowd.

    Args:
        *args, **metric: Fields of mmdet's ``CocoMetric``.
    """

    def __init__(self, *args, **metric) -> None:
        super().__init__(*args, **metric)
        index = self._coco_api
        if index is None:
            return
        for annotation in index.dataset['annotations']:
            annotation.setdefault('iscrowd', 0)
        if 0 in index.anns:
            for annotation in index.dataset['annotations']:
                annotation['id'] += 1
            index.createIndex()
            index.img_ann_map, index.cat_img_map = index.imgToAnns, index.catToImgs

    def compute_metrics(self, results: list) -> dict:
        if self._coco_api is not None and self.cat_ids is None:
            self.cat_ids = category_ids(self._coco_api.dataset['categories'],
                                        self.dataset_meta['classes'])
            for number, name in zip(self.cat_ids, self.dataset_meta['classes']):
                self._coco_api.cats.setdefault(number, dict(id=number, name=name))
        return super().compute_metrics(results)
