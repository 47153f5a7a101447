from .read import CheckpointRun as CheckpointRun
from .read import read_checkpoint as read_checkpoint
from .search import CheckpointScan as CheckpointScan
from .search import find_checkpoints as find_checkpoints
from .search import scan_checkpoints as scan_checkpoints
