"""Contenders of training.py in TensorFlow: this project's step, Keras's defaults, matrix product.

Each returns {"rate": work per second, "precision": number format, "device": for people}.
"""

from __future__ import annotations

from training_work import best_rate, load_facts, load_pairs

LOSSES = {"mse": "mse", "l1": "mae"}
# A GPU needs larger products to be busy, and more of them to hide that Python asks for each.
PRODUCTS = {"cpu": (2048, 4), "gpu": (8192, 50)}


def train_py(work, pipeline=False, xla="auto", **options):
    """`train.py`'s own compile and precision; data from its pipeline, or one batch in memory."""
    from tf_deconv.utils import quiet

    quiet.quiet_libraries()
    quiet.import_tensorflow()
    import tensorflow as tf

    from tf_deconv.data import patches, sources
    from tf_deconv.training import compilation
    from tf_deconv.utils import devices

    device = devices.choose_device(work.device, xla=xla, network=work.network)
    compilation.set_seed(0, device)
    config, task = work.config(**options), work.task()
    model = compilation.build_in(device.precision, task, config, trained=True)
    compilation.compile_model(model, config, device)
    if pipeline:
        source = sources.load_source(config.data, config.patch_size, config.validation_fraction)
        batches = patches.training_data(
            source.training,
            task,
            patch_size=config.patch_size,
            batch_size=config.batch_size,
            steps_per_epoch=config.steps_per_epoch,
            seed=0,
        )
        batches = patches.on_device(batches, device.place)
    else:
        x, y = (tf.constant(array[: work.batch_size]) for array in load_pairs())
        model.__class__ = _on_one_batch(type(model), (x, y))
        batches = tf.data.Dataset.range(1).repeat()

    def run():
        model.fit(batches, steps_per_epoch=work.steps, verbose=0, shuffle=False)
        wait_for(model)

    return _result(best_rate(run, work.images), device.precision, str(device))


def keras_fit(work, batch_size=None, **arguments):
    """The same layers, `compile(optimizer, loss)` and `fit(arrays)`, nothing else said."""
    from tf_deconv.training import compilation

    model = compilation.build_in("float32", work.task(), work.config())
    model.compile("adam", LOSSES[load_facts()["loss"]], **arguments)
    x, y = load_pairs()

    def run():
        epochs = work.steps // work.batches
        model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0)
        wait_for(model)

    return _result(best_rate(run, work.images), "float32")


def matrix_product(work, dtype):
    """The machine's matrix product, in floating-point operations per second.

    On a GPU TensorFlow multiplies float32 as TF32, as it does in convolutions.
    """
    import os

    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    import tensorflow as tf

    size, count = PRODUCTS[work.device]
    # Its powers neither vanish nor overflow.
    matrix = tf.cast(tf.random.normal((size, size), stddev=size**-0.5), dtype)
    product = tf.function(tf.matmul, jit_compile=False)

    def run():
        power = matrix
        for _ in range(count):
            power = product(power, matrix)
        power[0, 0].numpy()  # Waits for all of them: each needs the one before.

    return _result(best_rate(run, count * 2 * size**3), dtype)


def wait_for(model):
    """Waits until a GPU has done what it was asked for: the last step's update is read back."""
    model.trainable_variables[0].numpy()


def _on_one_batch(cls, batch):
    """Returns a subclass of a model's class that always trains on a batch in the device's memory.

    An iterator would bring it from the CPU's memory each time: that is the pipeline's part.
    """

    class OnOneBatch(cls):
        def _maybe_symbolic_build(self, iterator=None, data_batch=None):
            pass

        def train_step(self, data):
            return super().train_step(batch)

    return OnOneBatch


def _result(rate, precision, device=""):
    return {"rate": rate, "precision": precision, "device": device}
