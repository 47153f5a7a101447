from .listing import media_object as media_object
from .listing import media_sections as media_sections
