#!/usr/bin/env bash
# pnnx puts zeros where PyTorch pads circularly, and "nearest" where it says "nearest-exact".
#
# Expected: ncnn has neither circular padding nor nearest-exact. For other layers that ncnn lacks
#   (antialiased F.interpolate, LPPool2d) the converted file keeps PyTorch's
#   name, and ncnn refuses to load it. PyTorch's documentation tells the modes apart: nearest-exact
#   samples at pixel centres, nearest does not.
# Seen: conversion, load and run succeed. The circular convolution's border equals zero padding's;
#   halving by nearest-exact gives every pixel of plain nearest.
# Versions: pnnx 20261020, ncnn 1.0.20261020, PyTorch 2.13.0.
# Consequence: networks for periodic data (textures, panoramas) get seams, and label maps or nearest
#   baselines move by a pixel, though every step reported success.
#
# Needs PyTorch, torch==2.13.0, of which a build for CPUs is enough.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 torch==2.13.0 pnnx==20261020 ncnn==1.0.20261020
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata, os, subprocess, sys
import ncnn, numpy as np, torch
from torch.nn import Conv2d, Sequential
from torch.nn.functional import interpolate

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("pnnx", "ncnn", "torch")))
torch.manual_seed(0)
picture = torch.rand(1, 4, 10, 14)

class Halve(torch.nn.Module):
    def __init__(self, mode):
        super().__init__()
        self.mode = mode
    def forward(self, x):
        return interpolate(x, scale_factor=0.5, mode=self.mode)

def run_ncnn(name, module):
    torch.jit.trace(module.eval(), picture).save(f"{name}.pt")
    subprocess.run([os.path.join(os.path.dirname(sys.executable), "pnnx"), f"{name}.pt", "inputshape=[1,4,10,14]", "fp16=0"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    net = ncnn.Net()
    net.opt.use_vulkan_compute = net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param(f"{name}.ncnn.param") == 0 and net.load_model(f"{name}.ncnn.bin") == 0
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(picture[0].numpy()).clone())
    status, output = extractor.extract("out0")
    assert status == 0
    return torch.from_numpy(np.array(output))[None]

def compare(name, meant, substitute):
    seen = run_ncnn(name, meant)
    with torch.no_grad():
        error, rest = (float((seen - net(picture)).abs().max()) for net in (meant, substitute))
    print(f"{name}: largest difference from PyTorch {error:.3f}, from the substitute {rest:.1g}")
    return error, rest

def same_weights(mode):
    net = Conv2d(4, 4, 3, padding=1, padding_mode=mode)
    net.load_state_dict(weights)
    return net

weights = Conv2d(4, 4, 3).state_dict()
plain = same_weights("zeros")
error, rest = compare("zeros", plain, plain)
assert error < 1e-4
error, rest = compare("circular", same_weights("circular"), plain)
assert error > 0.05 and rest < 1e-4, "changed: circular padding"
error, rest = compare("nearest_exact", Sequential(plain, Halve("nearest-exact")), Sequential(plain, Halve("nearest")))
assert error > 0.05 and rest < 1e-4, "changed: nearest-exact"
print("as described")
PY
