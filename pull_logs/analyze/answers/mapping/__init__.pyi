from .run_map import RunReader as RunReader
from .run_map import map_runs as map_runs
from .run_map import read_here as read_here
