from .relations import relation_sections as relation_sections
from .run_columns import run_column_sections as run_column_sections
from .run_columns import seconds_of as seconds_of
