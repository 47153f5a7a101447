from .safety import Safety as Safety
from .safety import safety_object as safety_object
from .safety import safety_section as safety_section
from .sdk import SdkAnswer as SdkAnswer
from .sdk import sdk_object as sdk_object
from .sdk import sdk_sections as sdk_sections
