from .best_readings import BestReadings as BestReadings
from .indexed_endings import IndexedEndings as IndexedEndings
from .indexed_endings import compare_indexed as compare_indexed
from .reading_plan import ReadingPlan as ReadingPlan
from .run_reader import RunReader as RunReader
from .run_view import RunView as RunView
from .run_view import notes_on_rows as notes_on_rows
