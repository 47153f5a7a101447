from .file_part import FilePart as FilePart
from .members import media_members as media_members
