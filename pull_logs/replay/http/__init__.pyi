from .app import AppOptions as AppOptions
from .app import OnQuery as OnQuery
from .app import build_app as build_app
from .guard import is_loopback as is_loopback
from .request_counts import RequestCounts as RequestCounts
