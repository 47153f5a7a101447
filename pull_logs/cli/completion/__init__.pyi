from .shells import register_shells as register_shells
from .shells import shell_script as shell_script
from .variable import COMPLETE_VARIABLE as COMPLETE_VARIABLE
