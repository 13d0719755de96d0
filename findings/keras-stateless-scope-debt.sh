#!/usr/bin/env bash
# Keras makes the weights of a layer that nobody kept, when somebody else's StatelessScope ends.
#
# Expected: StatelessScope(initialize_variables=False) builds a network without making its weights, to count
#   them or to look at shapes; once that network is let go, nothing is left of it.
# Seen: the weights stay on a list of the process. The next StatelessScope that ends, whosever it is
#   (model.stateless_call opens one), runs their initializers: memory is taken and time is spent for a
#   network that is gone, and an initializer that fails does so there.
# Versions: Keras 3.15.1 on JAX 0.10.2, NumPy 2.4.6. TensorFlow's backend does the same.
# Consequence: a service that looks at models before it loads them pays for each one it refused, at the next
#   request that it serves; for a model too large for memory that request fails.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check keras==3.15.1 numpy==2.4.6 jax==0.10.2
KERAS_BACKEND=jax "$work/venv/bin/python" - <<'PY'
import gc, keras

made = []

def initializer(shape, dtype=None):
    made.append(tuple(shape))
    return keras.ops.zeros(shape, dtype)

with keras.StatelessScope(initialize_variables=False):
    layer = keras.layers.Dense(4, kernel_initializer=initializer)
    layer.build((None, 3))
assert made == []
del layer
gc.collect()
print("weights made while it was built and let go:", made)
with keras.StatelessScope():  # Another one, with nothing in it.
    pass
print("weights made when another, empty scope ended:", made)
assert made == [(3, 4)], "changed: Keras"
print("as described")
PY
