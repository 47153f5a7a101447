"""Object storage and other URLs, through fsspec: `https://`, `s3://`, `gs://`, `az://`.

systems   the file system of a URL, with the credentials of its own ecosystem
errors    where the errors of fsspec and its libraries become our own
s3        uploads to S3 with a condition
google    what is requested of Google storage without gcsfs's own functions
azure     what is requested of Azure storage with a condition
ranges    an object that is read in ranges of one version
files     the file at a URL, to read
versions  what an object was, and the condition that it still is that
upload    a local file becomes an object: in parts, verified, complete or not there at all
folder    the files of a folder become objects, the one that shows that all are there last
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
