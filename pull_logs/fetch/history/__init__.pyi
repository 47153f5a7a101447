from .changes import is_current as is_current
from .refresh import fetch_run as fetch_run
