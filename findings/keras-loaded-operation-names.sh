#!/usr/bin/env bash
# A network that Keras has loaded cannot be built upon with some operations: two would have one name.
#
# Expected: keras.Model(loaded.input, loaded.output + 1) works on a functional network that was loaded from
#   its .keras file as it does on the one that was saved.
# Seen: an operation of keras.ops, an operator such as + too, is called by its kind and a number that is
#   counted in the process, and a loaded network keeps the names that it was saved with without counting
#   them. The first new operation of a kind gets the name that the network has in it already: ValueError, all
#   operation names should be unique. Layers are spared (they can be given a name); operators cannot be.
#   In the process that built the network nothing is wrong, so a test there does not see it.
# Versions: Keras 3.15.1 on JAX 0.10.2, NumPy 2.4.6. TensorFlow's backend does the same.
# Consequence: code that puts a step after a loaded network, or clones it with other operations, works where
#   it was written and fails in the service. Putting in layers with names (layers.Add(name=...)) works.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check keras==3.15.1 numpy==2.4.6 jax==0.10.2
cat > "$work/build.py" <<'PY'
import sys, keras

image = keras.Input((4,), name="image")
network = keras.Model(image, keras.layers.Dense(4, name="dense")(image) + image)
network.save(sys.argv[1])
keras.Model(network.input, network.output + 1)
print("built upon where it was made:", [each.name for each in network.operations])
PY
cat > "$work/load.py" <<'PY'
import sys, keras

network = keras.saving.load_model(sys.argv[1])
try:
    keras.Model(network.input, network.output + 1)
    sys.exit("changed: Keras")
except ValueError as error:
    print("built upon where it was loaded:", error)
    assert "used 2 times" in str(error), "changed: Keras"
one = keras.layers.Add(name="one_more")([network.output, network.output])
keras.Model(network.input, one)
print("by a layer with a name: built")
PY
export KERAS_BACKEND=jax
"$work/venv/bin/python" "$work/build.py" "$work/network.keras"
"$work/venv/bin/python" "$work/load.py" "$work/network.keras"
echo "as described"
