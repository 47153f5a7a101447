from .changes import is_current as is_current
from .live_group import read_live_group as read_live_group
from .refresh import fetch_run as fetch_run
from .refresh import usable_artifacts as usable_artifacts
from .refresh import usable_console as usable_console
from .refresh import usable_files as usable_files
