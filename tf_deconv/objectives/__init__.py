"""What a run trains for: pictures, network, loss and what is shown, behind one interface.

`training.train` runs any `Objective` by the same `model.fit`, callbacks and run folder.
"""

from __future__ import annotations

from tf_deconv.config.training import TrainConfig
from tf_deconv.degradations.tasks import TASKS
from tf_deconv.objectives.base import Objective
from tf_deconv.utils.devices import Device


def make_objective(config: TrainConfig, device: Device) -> Objective:
    """Returns the objective of a checked config; pictures are read by its `load`."""
    if TASKS[config.task].generates:
        from tf_deconv.objectives.generation import make_generation

        return make_generation(config, device)
    from tf_deconv.objectives.restoration import Restoration

    return Restoration(config, device)
