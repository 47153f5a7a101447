from .safety import Safety as Safety
from .safety import safety_object as safety_object
from .safety import safety_section as safety_section
