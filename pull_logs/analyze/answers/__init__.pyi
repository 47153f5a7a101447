from .checkpoints import compare_checkpoints as compare_checkpoints
from .checkpoints import progress_of as progress_of
from .comparison import Comparison as Comparison
from .comparison import compare_runs as compare_runs
from .overview import overview as overview
from .side_by_side import label as label
from .view import answer as answer
