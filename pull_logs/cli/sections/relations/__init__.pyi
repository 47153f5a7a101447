from .run_columns import run_column_sections as run_column_sections
