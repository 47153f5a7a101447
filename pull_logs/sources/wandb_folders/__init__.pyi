from .import_runs import ImportReport as ImportReport
from .import_runs import LocalImport as LocalImport
from .import_runs import import_runs as import_runs
from .import_runs import read_run_dirs as read_run_dirs
