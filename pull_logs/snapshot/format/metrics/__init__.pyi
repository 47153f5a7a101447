from .columns import NUMBER_COLUMNS as NUMBER_COLUMNS
from .columns import TOTAL_COLUMNS as TOTAL_COLUMNS
from .columns import number_columns as number_columns
from .columns import one_array as one_array
from .columns import text_list as text_list
from .columns import total_columns as total_columns
