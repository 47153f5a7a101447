from .archived_runs import ArchivedRuns as ArchivedRuns
from .resume import EarlierBundles as EarlierBundles
from .resume import note_sealed as note_sealed
from .resume import open_spool as open_spool
