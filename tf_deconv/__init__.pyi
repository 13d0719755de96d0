"""The public names, for type checkers and editors; `__init__.py` resolves them on first use."""

from tf_deconv.api import benchmark as benchmark
from tf_deconv.api import edit as edit
from tf_deconv.api import evaluate as evaluate
from tf_deconv.api import export as export
from tf_deconv.api import inspect as inspect
from tf_deconv.api import list_models as list_models
from tf_deconv.api import load as load
from tf_deconv.api import load_generator as load_generator
from tf_deconv.api import load_video as load_video
from tf_deconv.api import restore as restore
from tf_deconv.api import sample as sample
from tf_deconv.api import shard as shard
from tf_deconv.api import train as train
from tf_deconv.api import verify as verify
from tf_deconv.data.config import ShardConfig as ShardConfig
from tf_deconv.degradations.tasks import OPERATORS as OPERATORS
from tf_deconv.degradations.tasks import TASKS as TASKS
from tf_deconv.evaluation.config import BenchmarkConfig as BenchmarkConfig
from tf_deconv.evaluation.config import EvaluateConfig as EvaluateConfig
from tf_deconv.exporting.config import ExportConfig as ExportConfig
from tf_deconv.exporting.config import VerifyConfig as VerifyConfig
from tf_deconv.exporting.variants import VARIANTS as VARIANTS
from tf_deconv.generation.config import EditConfig as EditConfig
from tf_deconv.generation.config import SampleConfig as SampleConfig
from tf_deconv.generation.generator import Generator as Generator
from tf_deconv.inference.config import RestoreConfig as RestoreConfig
from tf_deconv.inference.restorer import Restorer as Restorer
from tf_deconv.inference.streaming import Stream as Stream
from tf_deconv.inference.streaming import StreamRestorer as StreamRestorer
from tf_deconv.networks.table import NETWORKS as NETWORKS
from tf_deconv.training.config import TrainConfig as TrainConfig
from tf_deconv.utils.options import UserError as UserError

__version__: str
