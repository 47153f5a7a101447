from .location import BundleLocation as BundleLocation
from .location import close_located as close_located
from .location import located as located
from .member_check import check_on as check_on
from .member_check import close_checked as close_checked
from .run_parts import RunItem as RunItem
from .run_parts import map_runs_in_parts as map_runs_in_parts
