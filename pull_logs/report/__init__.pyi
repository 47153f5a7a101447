from .document import ReportSize as ReportSize
from .document import render_report as render_report
from .document import write_report as write_report
from .options import ReportOptions as ReportOptions
from .sources import bundles_of as bundles_of
from .sources import check_report_output as check_report_output
