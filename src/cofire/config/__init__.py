"""Typed settings of every command: the same for Python, YAML files and command line flags.

No heavy import here: ``cofire fit --help`` reads these modules and must be quick.
"""

from cofire.config.base import Config, ListingConfig, read_yaml
from cofire.config.browse import (
    FeaturesConfig,
    MethodsConfig,
    ReportConfig,
    RunsConfig,
    ShowConfig,
)
from cofire.config.capture import CAPTURE_SETTINGS, CaptureConfig
from cofire.config.fit import DemoConfig, FitConfig
from cofire.config.path import DEFAULT_PATH, PathConfig
from cofire.config.weights import WeightsConfig

__all__ = [
    "CAPTURE_SETTINGS",
    "DEFAULT_PATH",
    "CaptureConfig",
    "Config",
    "DemoConfig",
    "FeaturesConfig",
    "FitConfig",
    "ListingConfig",
    "MethodsConfig",
    "PathConfig",
    "ReportConfig",
    "RunsConfig",
    "ShowConfig",
    "WeightsConfig",
    "read_yaml",
]
