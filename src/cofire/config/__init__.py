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
from cofire.config.compare import CompareConfig, SweepConfig
from cofire.config.export import ExportConfig
from cofire.config.fit import DemoConfig, FitConfig
from cofire.config.judge import DoctorConfig, LabelConfig, LlmConfig, SteerConfig
from cofire.config.path import DEFAULT_PATH, PathConfig
from cofire.config.serve import ServeConfig
from cofire.config.structure import CoreConfig, FlowConfig, ReuseConfig
from cofire.config.tree import TreeConfig
from cofire.config.weights import WeightsConfig

__all__ = [
    "CAPTURE_SETTINGS",
    "DEFAULT_PATH",
    "CaptureConfig",
    "CompareConfig",
    "Config",
    "CoreConfig",
    "DemoConfig",
    "DoctorConfig",
    "ExportConfig",
    "FeaturesConfig",
    "FitConfig",
    "FlowConfig",
    "LabelConfig",
    "ListingConfig",
    "LlmConfig",
    "MethodsConfig",
    "PathConfig",
    "ReportConfig",
    "ReuseConfig",
    "RunsConfig",
    "ServeConfig",
    "ShowConfig",
    "SteerConfig",
    "SweepConfig",
    "TreeConfig",
    "WeightsConfig",
    "read_yaml",
]
