from .reader import read_inventories as read_inventories
from .remote_run import Part as Part
from .remote_run import RemoteFiles as RemoteFiles
from .remote_run import RemoteRun as RemoteRun
