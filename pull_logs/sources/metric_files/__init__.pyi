from .tracker import MetricFiles as MetricFiles
