from .find_runs import Discovery as Discovery
from .found import Exports as Exports
from .found import Found as Found
from .found import Lessons as Lessons
from .found import Missed as Missed
from .found import Steps as Steps
from .run_node import read_exports as read_exports
from .sweep_configs import SweepConfigs as SweepConfigs
