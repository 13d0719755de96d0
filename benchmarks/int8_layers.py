"""What each convolution of a network costs in int8: the loss with that one alone left in float.

    python benchmarks/int8_layers.py EXPORT/tflite/NAME-float32.tflite RUN

EXPORT is one of the run RUN, with a signature of 256x256. The loss is the gate's: PSNR on the run's
held-out pictures, cut to 256x256, at most 58.9 dB each, against the float32 file. After them come
the last convolutions together, which `export` keeps in float where it has to (decision 9).
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np

from tf_deconv.exporting.parity.gate import seen_psnr_db
from tf_deconv.exporting.tflite import convert, flatbuffer, quantize
from tf_deconv.exporting.variants import VARIANTS
from tf_deconv.inference import run_folder
from tf_deconv.inference.tflite_file import TfliteFile

SIDE_PX = 256


def score_db(content: bytes, samples: run_folder.Samples) -> np.ndarray:
    """Returns the dB of each held-out picture."""
    from ai_edge_litert.interpreter import Interpreter

    size = (SIDE_PX, SIDE_PX)
    interpreter = Interpreter(model_content=content)
    runner = interpreter.get_signature_runner(convert.signature_name(size))
    return np.array(
        [
            seen_psnr_db(
                runner(image=convert.fit(degraded, size)[np.newaxis])["restored"][0],
                convert.fit(clean, size),
            )
            for degraded, clean in zip(samples.degraded, samples.clean)
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("run", type=pathlib.Path)
    options = parser.parse_args(arguments)
    file = TfliteFile(options.file.read_bytes())
    samples = run_folder.load_samples(options.run / run_folder.SAMPLES_FILE)
    exact = score_db(file.content, samples)

    def loss_db(in_float: list[str]) -> np.ndarray:
        quantized = quantize.quantize(file, VARIANTS["int8"], in_float=in_float)
        return exact - score_db(quantized.content, samples)

    plain = loss_db([])
    print(f"int8 loses {plain.mean():.3f} dB; by picture, and what float32 has:")
    print(" ".join(f"{loss:.2f}/{db:.1f}" for loss, db in zip(plain, exact)))
    steps = flatbuffer.last_convolutions(file, 1.0)
    for names in steps:
        print(f"{names[0].split(';')[0]:50} {loss_db(names).mean():.3f}", flush=True)
    for count in range(2, 6):
        kept = [name for names in steps[:count] for name in names]
        print(f"{f'the last {count}':50} {loss_db(kept).mean():.3f}", flush=True)
    return 0


if __name__ == "__main__":
    import outcome

    outcome.run(main)
