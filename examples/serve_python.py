"""Restores a picture with the exported SavedModel; needs nothing but tensorflow.

    python serve_python.py saved_models/NAME/1 noisy.png restored.png

The model decodes, sets upright, restores and encodes: PNG or JPEG in, PNG out, at any size. Point
it at the version folder (`saved_models/NAME/1`).
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf


def main(model_folder, picture, restored):
    model = tf.saved_model.load(model_folder)
    with open(picture, "rb") as stream:
        encoded = stream.read()
    try:
        answer = model.signatures["serve_bytes"](image_bytes=tf.constant([encoded]))
    except tf.errors.InvalidArgumentError as error:
        # TensorFlow tells the cause on the line before the node's name.
        cause = error.message.split("\n\t [[")[0].splitlines()[-1]
        sys.exit(f"{picture} was refused: {cause}")
    with open(restored, "wb") as stream:
        stream.write(answer["restored_bytes"].numpy()[0])
    print(f"wrote {restored}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
