#!/usr/bin/env bash
# TensorFlow.js's Keras layers are not Keras's: bilinear UpSampling2D is shifted, Conv2DTranspose
# ignores outputPadding and dilationRate.
#
# Expected: the layers read models that Keras saved, so equal settings mean equal functions. Keras's
#   UpSampling2D(interpolation="bilinear") keeps pixel centres (0, 0.25, 0.75, ... of a ramp); its
#   Conv2DTranspose(3, strides 2, output_padding 1) makes 10 of 4, and with dilation_rate 2 (strides
#   1) 8 of 4. tf.image.resizeBilinear(..., halfPixelCenters=true) of the same package gives Keras's.
# Seen: the ramp 0, 0.5, 1, ... with its last value twice; 9 and 6 in place of 10 and 8. No error.
# Versions: @tensorflow/tfjs 4.22.0 (its JavaScript backend), Keras 3.15.1 on JAX 0.10.2.
# Consequence: a super-resolution or U-Net model converted for the browser as layers draws a picture
#   a quarter of an input pixel to the upper left at each upsampling, so that skips join misaligned.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 jax==0.10.2 keras==3.15.1
(cd "$work" && npm install --silent --no-fund --no-audit @tensorflow/tfjs@4.22.0)
KERAS_BACKEND=jax KERAS_HOME="$work" "$work/venv/bin/python" - >"$work/keras.json" <<'PY'
import json, keras, numpy as np
ramp = np.arange(4, dtype=np.float32).reshape(1, 1, 4, 1)
up = keras.layers.UpSampling2D((1, 2), interpolation="bilinear")(ramp)
padded = keras.layers.Conv2DTranspose(1, (1, 3), strides=(1, 2), output_padding=(0, 1))(ramp)
dilated = keras.layers.Conv2DTranspose(1, (1, 3), dilation_rate=(1, 2))(ramp)
print(json.dumps({"version": keras.__version__, "up": keras.ops.convert_to_numpy(up).ravel().round(4).tolist(),
                  "padded": padded.shape[2], "dilated": dilated.shape[2]}))
PY
cat >"$work/tfjs.js" <<'JS'
const tf = require('@tensorflow/tfjs'), keras = JSON.parse(require('fs').readFileSync(process.argv[2]));
console.warn = () => {};
tf.setBackend('cpu').then(() => {
  const ramp = tf.tensor4d([0, 1, 2, 3], [1, 1, 4, 1]);
  const up = Array.from(tf.layers.upSampling2d({size: [1, 2], interpolation: 'bilinear'}).apply(ramp).dataSync());
  const half = Array.from(tf.image.resizeBilinear(ramp, [1, 8], false, true).dataSync());
  const padded = tf.layers.conv2dTranspose({filters: 1, kernelSize: [1, 3], strides: [1, 2], outputPadding: [0, 1]}).apply(ramp).shape[2];
  const dilated = tf.layers.conv2dTranspose({filters: 1, kernelSize: [1, 3], dilationRate: [1, 2]}).apply(ramp).shape[2];
  const line = (name, ours, theirs) => console.log(`${name}: TensorFlow.js ${tf.version.tfjs} ${ours}; Keras ${keras.version} ${theirs}`);
  line('UpSampling2D, bilinear', up, keras.up);
  line('Conv2DTranspose, output padding: width', padded, keras.padded);
  line('Conv2DTranspose, dilation: width', dilated, keras.dilated);
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  if (!same(half, keras.up)) throw Error('changed: Keras, or resizeBilinear with halfPixelCenters');
  if (!same(up, [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]) || padded !== 9 || dilated !== 6 || keras.padded !== 10 || keras.dilated !== 8) throw Error('changed');
  console.log('as described');
});
JS
(cd "$work" && node tfjs.js keras.json) | grep -v -e '^$' -e '^=' -e 'tfjs-node'
