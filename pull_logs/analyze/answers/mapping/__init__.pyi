from .run_map import RunReader as RunReader
from .run_map import bundle_order as bundle_order
from .run_map import map_runs as map_runs
from .run_map import put_back as put_back
