"""Records → MLflow. MLflow is a view: all that it shows is rebuilt from the records, and no job waits for it."""

from dlm.tracking.live import live_training
from dlm.tracking.sync import Summary, sync
from dlm.tracking.ui import serve

__all__ = ["Summary", "live_training", "serve", "sync"]
