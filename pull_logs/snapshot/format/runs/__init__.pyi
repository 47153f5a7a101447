from .documents import Documents as Documents
from .paths import PathsBuilder as PathsBuilder
from .paths import RunPaths as RunPaths
from .plain_columns import PlainColumns as PlainColumns
from .plain_columns import cells_of as cells_of
from .table_file import GROUP_ROWS as GROUP_ROWS
from .table_file import TableFile as TableFile
from .table_file import damaged_table as damaged_table
