from .listing import list_artifacts as list_artifacts
from .run_artifacts import needs_artifacts as needs_artifacts
from .run_artifacts import read_artifacts as read_artifacts
