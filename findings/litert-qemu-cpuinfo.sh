#!/usr/bin/env bash
# LiteRT's aarch64 wheel dies under user-mode QEMU of an x86 machine's /proc/cpuinfo.
#
# Expected: a program for aarch64 runs under QEMU's user mode, as containers for ARM do on x86 machines;
#   what /proc/cpuinfo says is a hint for choosing kernels. tflite-runtime 2.14, its forerunner, runs.
# Seen: the first interpreter with the default kernels ends the process with a segmentation fault (code
#   139), nothing on stderr. With a /proc/cpuinfo that tells of an ARM processor it runs; with
#   `BUILTIN_WITHOUT_DEFAULT_DELEGATES`, that is without XNNPACK, it does either way.
# Versions: ai-edge-litert 2.3.0; QEMU 7.2 of Debian 12, which shows the host's file; tflite-runtime
#   2.14.0.
# Consequence: an app for ARM boards that is tested in such a container dies without a word.
#
# Needs Debian 12 on x86-64; qemu-user-static and an arm64 Python are unpacked, not installed.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p state/lists/partial cache/archives/partial debs host root/proc
touch status
private="-qq -oDir::State=$work/state -oDir::State::status=$work/status -oDir::Cache=$work/cache -oAPT::Sandbox::User=root"
arm="$private -oAPT::Architecture=arm64 -oAPT::Architectures=arm64"
(cd host && apt-get -qq update && apt-get -qq download qemu-user-static)
apt-get $arm update
(cd debs && apt-get $arm download python3.11-minimal libpython3.11-minimal libpython3.11-stdlib \
    libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libffi8)
dpkg-deb -x host/*.deb host
for deb in debs/*.deb; do dpkg-deb -x "$deb" root; done
get="python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11
    --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64
    --platform manylinux_2_34_aarch64"
$get -d new ai-edge-litert==2.3.0 numpy==2.4.6
$get -d old tflite-runtime==2.14.0 numpy==1.26.4
python3 -m venv venv && venv/bin/pip -q install --disable-pip-version-check flatbuffers==25.12.19 ai-edge-litert==2.3.0 numpy==2.4.6
for set in new old; do for wheel in $set/*.whl; do python3 -m zipfile -e "$wheel" "$set-site"; done; done

# A model of one operator, y = relu(x), (1, 4) float32.
venv/bin/python - <<'PY'
import flatbuffers
from ai_edge_litert import schema_py_generated as schema
model, graph, node, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
tensors = [schema.TensorT(), schema.TensorT()]
for tensor, name in zip(tensors, ("x", "y")):
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, [1, 4], schema.TensorType.FLOAT32, 0
code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
code.version = 1
node.opcodeIndex, node.inputs, node.outputs = 0, [0], [1]
graph.tensors, graph.inputs, graph.outputs, graph.operators, graph.name = tensors, [0], [1], [node], "main"
model.version, model.buffers, model.subgraphs, model.operatorCodes = 3, [schema.BufferT()], [graph], [code]
builder = flatbuffers.Builder(256)
builder.Finish(model.Pack(builder), b"TFL3")
open("relu.tflite", "wb").write(builder.Output())
PY
cat > run.py <<'PY'
import sys
import numpy as np
package, resolver = sys.argv[1:]
if package == "ai_edge_litert":
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
else:
    from tflite_runtime.interpreter import Interpreter, OpResolverType
interpreter = Interpreter("relu.tflite", num_threads=1, experimental_op_resolver_type=OpResolverType[resolver])
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.float32([[-1, 2, -3, 4]]))
interpreter.invoke()
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist())
PY
run() { # FOLDER PACKAGE RESOLVER; prints what it printed, or the code that it ended with.
  code=0
  answer=$(host/usr/bin/qemu-aarch64-static -cpu cortex-a76 -L root -E PYTHONPATH="$work/$1-site" \
      root/usr/bin/python3.11 run.py "$2" "$3" 2>/dev/null) || code=$?
  [ "$code" = 0 ] && echo "$answer" || echo "code $code"
}
right="[[0.0, 2.0, 0.0, 4.0]]"
died=$(run new ai_edge_litert AUTO 2>/dev/null)
plain=$(run new ai_edge_litert BUILTIN_WITHOUT_DEFAULT_DELEGATES)
old=$(run old tflite_runtime AUTO)
printf 'processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 1\n' > root/proc/cpuinfo
told=$(run new ai_edge_litert AUTO)
echo "host's /proc/cpuinfo: LiteRT 2.3.0 $died; without XNNPACK $plain; tflite-runtime 2.14 $old"
echo "an ARM processor's:   LiteRT 2.3.0 $told"
[ "$died" = "code 139" ] && [ "$plain" = "$right" ] && [ "$old" = "$right" ] && [ "$told" = "$right" ] || { echo changed; exit 1; }
echo "as described"
