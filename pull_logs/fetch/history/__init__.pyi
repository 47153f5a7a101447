from .refresh import Brought as Brought
from .refresh import bring as bring
from .refresh import is_current as is_current
