from .best_readings import BestReadings as BestReadings
from .reading_plan import ReadingPlan as ReadingPlan
from .run_reader import RunReader as RunReader
from .run_view import RunView as RunView
from .run_view import notes_on_rows as notes_on_rows
