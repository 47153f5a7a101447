from .reader import SdkRuns as SdkRuns
from .reader import read_with_sdk as read_with_sdk
