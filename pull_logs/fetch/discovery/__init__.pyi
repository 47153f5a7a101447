from .find_runs import find_runs as find_runs
from .run_node import read_exports as read_exports
from .run_plan import ExportedHistory as ExportedHistory
from .run_plan import FoundRun as FoundRun
from .run_plan import MissedRun as MissedRun
from .run_plan import Steps as Steps
from .sweep_configs import SweepConfigs as SweepConfigs
