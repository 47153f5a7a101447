from .console import read_console as read_console
from .download import FileChangedError as FileChangedError
from .download import download_file as download_file
from .listing import ListedFile as ListedFile
from .listing import list_files as list_files
from .listing import read_listed as read_listed
from .run_files import read_files as read_files
