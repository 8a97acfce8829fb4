"""The public names of tfkd, each with its home."""

from .compression.litert import LiteRTModel as LiteRTModel
from .compression.qat.model import QuantizationAware as QuantizationAware
from .compression.qat.model import quantization_aware as quantization_aware
from .config.training import DistillConfig as DistillConfig
from .config.training import FinetuneConfig as FinetuneConfig
from .config.training import PretrainConfig as PretrainConfig
from .config.verbs import AnalyzeConfig as AnalyzeConfig
from .config.verbs import BenchmarkConfig as BenchmarkConfig
from .config.verbs import CheckConfig as CheckConfig
from .config.verbs import CleanConfig as CleanConfig
from .config.verbs import DoctorConfig as DoctorConfig
from .config.verbs import ErrorsConfig as ErrorsConfig
from .config.verbs import EvaluateConfig as EvaluateConfig
from .config.verbs import ExportConfig as ExportConfig
from .config.verbs import PredictConfig as PredictConfig
from .config.verbs import QuantizeConfig as QuantizeConfig
from .config.verbs import ReportConfig as ReportConfig
from .config.verbs import ServeConfig as ServeConfig
from .config.verbs import StudyConfig as StudyConfig
from .distillation.distiller import Distiller as Distiller
from .models.classifier import TextClassifier as TextClassifier
from .models.predictions import Prediction as Prediction
from .workflows.analyze import analyze as analyze
from .workflows.benchmark import benchmark as benchmark
from .workflows.check import check as check
from .workflows.clean import clean as clean
from .workflows.distill import distill as distill
from .workflows.doctor import doctor as doctor
from .workflows.evaluate import evaluate as evaluate
from .workflows.export import export as export
from .workflows.finetune import finetune as finetune
from .workflows.predict import predict as predict
from .workflows.predict import predict_file as predict_file
from .workflows.pretrain import pretrain as pretrain
from .workflows.quantize import quantize as quantize
from .workflows.report import report as report
from .workflows.serve import serve as serve
from .workflows.study import study as study

__version__: str
