from .gate import MARK as MARK
from .gate import gate_report as gate_report
from .gate import gate_section as gate_section
from .tasks import task_sections as task_sections
