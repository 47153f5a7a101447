from .find_runs import find_runs_with_sdk as find_runs_with_sdk
from .parts import SdkSweepConfigs as SdkSweepConfigs
from .process import SdkPool as SdkPool
from .reader import SdkRuns as SdkRuns
from .reader import read_with_sdk as read_with_sdk
from .runs import SdkSource as SdkSource
from .runs import with_internal_config as with_internal_config
