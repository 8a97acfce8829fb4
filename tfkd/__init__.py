"""tfkd distils and quantizes text classifiers, and proves what it cost.

The verbs of the command line are functions here, each with its settings: `tfkd.distill(
tfkd.DistillConfig(dataset="ag_news"))`. Beside them stand the parts they are made of, for those who
bring their own models. A name is imported when it is first asked for, so `import tfkd` is quick and
loads no TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfkd.compression.litert import LiteRTModel
    from tfkd.compression.qat.model import QuantizationAware, quantization_aware
    from tfkd.config import (
        AnalyzeConfig,
        BenchmarkConfig,
        EvaluateConfig,
        ExportConfig,
        PredictConfig,
        QuantizeConfig,
        ReportConfig,
        ServeConfig,
        StudyConfig,
    )
    from tfkd.distillation.distiller import Distiller
    from tfkd.models.classifier import TextClassifier
    from tfkd.studies.report import report
    from tfkd.studies.study import study
    from tfkd.training_config import DistillConfig, FinetuneConfig
    from tfkd.workflows.analyze import analyze
    from tfkd.workflows.benchmark import benchmark
    from tfkd.workflows.distill import distill
    from tfkd.workflows.evaluate import evaluate
    from tfkd.workflows.export import export
    from tfkd.workflows.finetune import finetune
    from tfkd.workflows.predict import predict
    from tfkd.workflows.quantize import quantize
    from tfkd.workflows.serve import serve

# A plain literal: setuptools reads it without importing the package.
__version__ = "0.1.0"

__all__ = [
    "AnalyzeConfig",
    "BenchmarkConfig",
    "DistillConfig",
    "Distiller",
    "EvaluateConfig",
    "ExportConfig",
    "FinetuneConfig",
    "LiteRTModel",
    "PredictConfig",
    "QuantizationAware",
    "QuantizeConfig",
    "ReportConfig",
    "ServeConfig",
    "StudyConfig",
    "TextClassifier",
    "__version__",
    "analyze",
    "benchmark",
    "distill",
    "evaluate",
    "export",
    "finetune",
    "predict",
    "quantization_aware",
    "quantize",
    "report",
    "serve",
    "study",
]

_HOMES = {
    "AnalyzeConfig": "tfkd.config",
    "BenchmarkConfig": "tfkd.config",
    "DistillConfig": "tfkd.training_config",
    "Distiller": "tfkd.distillation.distiller",
    "EvaluateConfig": "tfkd.config",
    "ExportConfig": "tfkd.config",
    "FinetuneConfig": "tfkd.training_config",
    "LiteRTModel": "tfkd.compression.litert",
    "PredictConfig": "tfkd.config",
    "QuantizationAware": "tfkd.compression.qat.model",
    "QuantizeConfig": "tfkd.config",
    "ReportConfig": "tfkd.config",
    "ServeConfig": "tfkd.config",
    "StudyConfig": "tfkd.config",
    "TextClassifier": "tfkd.models.classifier",
    "analyze": "tfkd.workflows.analyze",
    "benchmark": "tfkd.workflows.benchmark",
    "distill": "tfkd.workflows.distill",
    "evaluate": "tfkd.workflows.evaluate",
    "export": "tfkd.workflows.export",
    "finetune": "tfkd.workflows.finetune",
    "predict": "tfkd.workflows.predict",
    "quantization_aware": "tfkd.compression.qat.model",
    "quantize": "tfkd.workflows.quantize",
    "report": "tfkd.studies.report",
    "serve": "tfkd.workflows.serve",
    "study": "tfkd.studies.study",
}


def __getattr__(name: str) -> Any:
    """The public name, imported from its home the first time it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, those not yet imported too."""
    return sorted(__all__)
