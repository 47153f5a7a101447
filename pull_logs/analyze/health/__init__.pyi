from .findings import FLAGS as FLAGS
from .findings import Flag as Flag
from .findings import HealthFinding as HealthFinding
from .flags import DEFINITIONS as DEFINITIONS
from .flags import RunColumns as RunColumns
from .flags import can_have_flags as can_have_flags
from .flags import find_all_flags as find_all_flags
from .flags import find_flags as find_flags
