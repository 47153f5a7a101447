from .sql import Sql as Sql
from .sql import sql_object as sql_object
from .sql import sql_sections as sql_sections
