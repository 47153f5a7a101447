from .folder_lock import FolderLock as FolderLock
from .seal import SealReport as SealReport
from .seal import write_bundle as write_bundle
from .spool import Spool as Spool
from .stored_run import BundleRun as BundleRun
from .stored_run import CopiedRun as CopiedRun
from .stored_run import StoredRun as StoredRun
from .temporary_folder import temporary_folder as temporary_folder
