from .console import RunConsole as RunConsole
from .media import MediaItem as MediaItem
from .media import media_of as media_of
from .media import read_table as read_table
