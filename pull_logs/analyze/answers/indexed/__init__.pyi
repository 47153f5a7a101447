from .readings import Field as Field
from .readings import IndexedMetrics as IndexedMetrics
from .readings import IndexedRun as IndexedRun
from .run_values import RunValues as RunValues
