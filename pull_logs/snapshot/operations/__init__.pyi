from .diff import BundleDifference as BundleDifference
from .diff import RunDifference as RunDifference
from .diff import diff_bundles as diff_bundles
from .export import ExportReport as ExportReport
from .export import export_runs as export_runs
from .merge import MergeReport as MergeReport
from .merge import merge_bundles as merge_bundles
from .subset import subset_bundle as subset_bundle
