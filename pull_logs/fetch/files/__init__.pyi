from .console import read_console as read_console
from .listing import list_files as list_files
from .run_files import read_files as read_files
