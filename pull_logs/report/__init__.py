"""A report: one self-contained HTML file in which a person looks at runs.

`report_facts` collects what the page shows, `charts` reduces the curves of every metric and packs them, and
`document` puts both into one file together with the page's own code (`page/`) and the charting library uPlot,
which is read from the installed package `uplot-python`. The page requests nothing, and treats every text of
a run as text (docs/report.md).
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
