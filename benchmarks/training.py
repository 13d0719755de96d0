"""Training speed of a network: this project, Keras's defaults, PyTorch; on a CPU or a GPU.

    python benchmarks/training.py [--device cpu|gpu|auto] [--network article|unet] [--size SIZE]
        [--batch-size N] [--patch-size PX] [--rounds 3] [--json FILE]

Every contender trains the same layers on patches of the same shapes in a process of its own, by
default the network's own batches on a CPU and larger ones on a GPU. They take turns, round after
round, so that a noisy machine is noisy for all of them. Reported is the best of each one's rounds,
for noise only ever slows, and its ratio to this project's. The device's own matrix product,
measured in the same run, tells what share of it a step reaches. PyTorch's contenders are left out
where torch is not installed.

The article's network (73,167 weights) is trained with Adam and the mean squared error by all of
them. `train.py` trains the U-Net with Muon, the others with Adam: "step alone, Adam" compares.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping

import training_work
from training_work import FOLDER_VARIABLE, Work

from tf_deconv.networks.table import NETWORKS
from tf_deconv.utils import quiet
from tf_deconv.utils.options import UserError

PIPELINE, BASE = "train.py, whole pipeline", "train.py, step alone"
XLA = {"on": f"{BASE}, XLA on", "off": f"{BASE}, XLA off"}
PRODUCT = "matrix product "
# Key of PRODUCT that a step in this number format is compared with.
PRECISIONS = {"mixed_bfloat16": "bfloat16", "mixed_float16": "float16", "float32": "float32"}


@dataclasses.dataclass(frozen=True)
class Contender:
    """Something to measure.

    Attributes:
      run: Returns {"rate", "precision", "device"} of a work.
      environment: Variables of its process.
    """

    run: Callable[[Work], dict]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


def make_contenders(work):
    """Returns what is measured for a work, by name, in the order of the table."""
    on_gpu = work.device == "gpu"
    found = {PIPELINE: _keras("train_py", pipeline=True)}
    if on_gpu:
        # TensorFlow's guide to GPUs recommends it where tf.data keeps the CPU busy.
        found[f"{PIPELINE}, TF_GPU_THREAD_MODE"] = dataclasses.replace(
            found[PIPELINE], environment={"TF_GPU_THREAD_MODE": "gpu_private"}
        )
    found[BASE] = _keras("train_py")
    if on_gpu:
        found |= {name: _keras("train_py", xla=xla) for xla, name in XLA.items()}
    if NETWORKS[work.network].optimizer != "adam":
        found[f"{BASE}, Adam"] = _keras("train_py", optimizer="adam")
    found["Keras fit, its defaults (batch 32)"] = _keras("keras_fit")
    found[f"Keras fit, its defaults but batch {work.batch_size}"] = _keras(
        "keras_fit", batch_size=work.batch_size
    )
    # Keras's default is XLA on a GPU and none on a CPU: the other way.
    found[f"Keras fit, jit_compile={not on_gpu}"] = _keras(
        "keras_fit", batch_size=work.batch_size, jit_compile=not on_gpu
    )
    found["PyTorch float32 channels-last"] = _torch(bfloat16=False)
    found["PyTorch bfloat16 channels-last"] = _torch(bfloat16=True)
    compiled = "PyTorch bfloat16 channels-last, torch.compile"
    found[compiled] = _torch(bfloat16=True, compiled="default")
    if on_gpu:
        found[f"{compiled}, CUDA graphs"] = _torch(bfloat16=True, compiled="reduce-overhead")
    for dtype in ("float32", "bfloat16", "float16") if on_gpu else ("float32", "bfloat16"):
        found[PRODUCT + dtype] = _keras("matrix_product", dtype=dtype)
    return found


def _keras(function, **options):
    def run(work):
        import training_keras

        return getattr(training_keras, function)(work, **options)

    return Contender(run)


def _torch(**options):
    def run(work):
        import training_torch

        return training_torch.train(work, **options)

    return Contender(run)


def find_device(device):
    """Returns {"kind", "name"} of the device that `train.py` would take.

    Asked in a process of its own: one that has opened a GPU keeps its memory.

    Raises:
      UserError: if it is a GPU and there is none.
    """
    if device == "cpu":
        return {"kind": "cpu", "name": describe_machine()}
    done = _run_self(["--find", device])
    if done.returncode:
        raise UserError(_last_line(done))
    found = json.loads(done.stdout.splitlines()[-1])
    return found | ({"name": describe_machine()} if found["kind"] == "cpu" else {})


def _find(device):
    """What `find_device` runs."""

    quiet.quiet_libraries()
    quiet.import_tensorflow()
    from tf_deconv.utils import devices

    try:
        chosen = devices.choose_device(device)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    name = f"{chosen.name}, {os.cpu_count()} CPU threads, Python {platform.python_version()}"
    print(json.dumps({"kind": chosen.kind, "name": name}))
    return 0


def prepare(work):
    """Writes what the contenders share, in a process that sees no GPU."""
    done = _run_self(["--prepare", *_arguments(work)], CUDA_VISIBLE_DEVICES="")
    if done.returncode:
        sys.exit(f"training.py: the patches could not be prepared: {_last_line(done)}")


def measure(work, name):
    """Runs one contender in a fresh process; returns what it measured, None when it fails."""
    environment = dict(make_contenders(work)[name].environment)
    if work.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    done = _run_self(["--contender", name, *_arguments(work)], **environment)
    if done.returncode:
        print(f"{name}: failed: {_last_line(done)}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def _arguments(work):
    options = dataclasses.asdict(work)
    return [
        word
        for name, value in options.items()
        if value is not None
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]


def _run_self(arguments, **variables):
    return subprocess.run(
        [sys.executable, __file__, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables},
        check=False,
    )


def _last_line(done):
    return (done.stderr.strip().splitlines() or ["no message"])[-1]


def describe_machine():
    from tf_deconv.utils import devices

    flags = sorted(
        {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"} & devices.cpu_flags()
    )
    return f"{os.cpu_count()} CPU threads ({', '.join(flags)}), Python {platform.python_version()}"


def make_table(work, best, step_flops):
    """Returns the table's lines.

    Args:
      work: What was trained.
      best: Name to the result of its fastest round.
      step_flops: Floating-point operations of a training step, per patch.
    """
    # A share is told of a GPU's number formats, which are those of its matrix units.
    unit, scale, digits = ("TFLOP/s", 1e12, 1) if work.device == "gpu" else ("GFLOP/s", 1e9, 0)
    shares = work.device == "gpu"
    heading = f"| contender | images/s | train.py's step is ... times as fast | {unit} |"
    lines = [heading, "|---|---:|---:|---:|"]
    if shares:
        lines = [f"{lines[0]} share of its matrix product |", f"{lines[1]}---:|"]
    for name, result in best.items():
        rate, share = result["rate"], ""
        if name.startswith(PRODUCT):
            cells = [name, "", "", f"{rate / scale:.{digits}f}"]
        else:
            ratio = f"{best[BASE]['rate'] / rate:.2f}" if BASE in best else ""
            flops = rate * step_flops
            cells = [name, f"{rate:.0f}", ratio, f"{flops / scale:.{digits}f}"]
            product = best.get(PRODUCT + PRECISIONS[result["precision"]])
            share = f"{flops / product['rate']:.0%}".replace("%", " %") if product else ""
        cells += [share] * shares
        lines.append(f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in cells)}|")
    return lines


def make_notes(best):
    """Returns what the table says, in lines: the choice, the input stall, XLA, PyTorch."""
    lines = []
    if BASE in best:
        lines.append(f"train.py chose: {best[BASE]['device']}")
    if BASE in best and PIPELINE in best:
        stall = best[BASE]["rate"] / best[PIPELINE]["rate"] - 1
        lines.append(f"input stall: the whole pipeline adds {stall:.0%} to the step's time")
    if all(name in best for name in XLA.values()):
        ratio = best[XLA["on"]]["rate"] / best[XLA["off"]]["rate"]
        faster = "on" if ratio >= 1 else "off"
        lines.append(f"XLA: on is {ratio:.2f} times as fast as off; train with --xla {faster}")
    modes = {name: result["rate"] for name, result in best.items() if name.startswith("PyTorch")}
    if modes and BASE in best:
        name = max(modes, key=modes.get)
        lines.append(f"step alone: {best[BASE]['rate'] / modes[name]:.2f} times {name}")
    return [line.replace("%", " %") for line in lines]


def _parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--network", choices=tuple(training_work.TASKS), default="article")
    parser.add_argument("--size", help="of the network; its first one when left out")
    parser.add_argument("--batch-size", type=int, help="patches in a batch")
    parser.add_argument("--patch-size", type=int, help="side of a patch in pixels")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")
    for name in ("--contender", "--find"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = _parse()
    if options.find:
        return _find(options.find)
    asked = (options.network, options.size, options.batch_size, options.patch_size)
    try:
        if options.rounds < 1:
            raise UserError(f"--rounds {options.rounds}: expected at least 1")
        training_work.make_work("cpu", *asked)  # Mistakes are told before a device is looked for.
        device = find_device(options.device) if not (options.contender or options.prepare) else None
        work = training_work.make_work(device["kind"] if device else options.device, *asked)
    except UserError as error:
        print(f"training.py: {error}", file=sys.stderr)
        return 2
    if options.prepare:
        training_work.prepare(work)
    elif options.contender:
        print(json.dumps(make_contenders(work)[options.contender].run(work)), flush=True)
    else:
        compare(work, device["name"], options)
    return 0


def compare(work, machine, options):
    """Measures every contender and prints the table."""
    has_torch = importlib.util.find_spec("torch") is not None
    names = [name for name in make_contenders(work) if has_torch or "PyTorch" not in name]
    results = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FOLDER_VARIABLE] = folder
        prepare(work)
        facts = training_work.load_facts()
        for turn in range(options.rounds):
            for name in names:
                if (result := measure(work, name)) is not None:
                    results[name].append(result)
                shown = result and f"{result['rate']:.4g}"
                print(f"round {turn + 1}: {name}: {shown}", file=sys.stderr, flush=True)
    rate = functools.partial(max, key=lambda result: result["rate"])
    best = {name: rate(found) for name, found in results.items() if found}
    size = f" {work.size}" if work.size else ""
    print(
        f"{machine}, {facts['versions']}; {work.network}{size}, {facts['parameters']:,} weights;"
        f" batch {work.batch_size} of {work.patch_size}x{work.patch_size}, best of"
        f" {options.rounds} rounds\n"
    )
    print("\n".join([*make_table(work, best, facts["step_flops"]), "", *make_notes(best)]))
    if options.json:
        figures = {"machine": machine, "work": dataclasses.asdict(work), "facts": facts}
        with open(options.json, "w", encoding="utf-8") as stream:
            json.dump({**figures, "rounds": results}, stream, indent=2)


if __name__ == "__main__":
    sys.exit(main())
