"""MMEngine's MLflow backend, beside versions of MLflow that keep runs in a data base."""
import os
from pathlib import Path
from typing import Optional

import numpy as np
from mmengine.visualization import MLflowVisBackend as _MLflowVisBackend
from mmengine.visualization.vis_backend import force_init_env

from mmwamim.registry import VISBACKENDS

SERVER = 'MLFLOW_TRACKING_URI'


@VISBACKENDS.register_module()
class MLflowVisBackend(_MLflowVisBackend):
    """MMEngine's, whose files MLflow 3 refuses to write: metrics and fields go to
    ``save_dir/mlflow.db`` (SQLite), pictures and files to ``save_dir/mlflow``.

    Args:
        save_dir: A folder, made if there is none.
        tracking_uri: Of a server or data base instead. Default: ``MLFLOW_TRACKING_URI`` of the
            environment, if it is set.
        artifact_location: Where pictures and files go. Default: what the server says, or
            ``save_dir/mlflow``.
        fields: The other arguments of MMEngine's.
    """

    def __init__(self, save_dir: str, tracking_uri: Optional[str] = None,
                 artifact_location: Optional[str] = None, **fields) -> None:
        tracking_uri = tracking_uri or os.environ.get(SERVER)
        if not tracking_uri:
            folder = Path(save_dir).absolute()
            tracking_uri = f'sqlite:///{folder}/mlflow.db'
            artifact_location = artifact_location or (folder / 'mlflow').as_uri()
        super().__init__(save_dir, tracking_uri=tracking_uri, artifact_location=artifact_location,
                         **fields)

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs) -> None:
        """Writes a picture, one file a step.

        Args:
            name: Of the picture.
            image: uint8 (H, W, 3), RGB.
            step: Of the run.
            kwargs: Not used.
        """
        self._mlflow.log_image(image, f'{name}_{step}.png')  # it goes by the ending
