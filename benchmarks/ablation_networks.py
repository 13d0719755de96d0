"""Networks that are tried beside the U-Net: entries in the table while a benchmark runs.

Only Keras's own layers, so that `train_jax.py` trains them too. What proves itself moves into
`tf_deconv/networks/unet.py`; the others stay here, with their figures in `ablations.jsonl`.
"""

from __future__ import annotations

import dataclasses

import keras
from keras import layers

from tf_deconv.networks.table import NETWORKS
from tf_deconv.networks.unet import ZeroSum, build_unet

GATE_WINDOW = 5


def build_one_level(**options) -> keras.Model:
    """Builds the U-Net without a second level: 64 filters in 4 blocks at half the resolution."""
    return build_unet(**{"filters": (64,), "blocks": (4,), **options})


def build_overlapping_tail(**options) -> keras.Model:
    """Builds the U-Net whose last transposed convolution is twice as wide as its stride."""
    model = build_unet(**options)
    deconv, restored = model.get_layer("tail_deconv"), model.get_layer("restored")
    tail = layers.Conv2DTranspose(
        deconv.filters,
        2 * deconv.strides[0],
        strides=deconv.strides,
        padding="same",
        use_bias=deconv.use_bias,
        kernel_initializer="zeros",
        name="tail_overlapping",
    )
    add = layers.Add(dtype="float32", name="restored_overlapping")
    return keras.Model(model.input, add([restored.input[0], tail(deconv.input)]), name="unet")


def build_gated(**options) -> keras.Model:
    """Builds the U-Net whose blocks are weighed, place by place, by what their neighbourhood holds.

    A gate is 1 at the beginning. With it the network is no longer homogeneous: noise that it has
    not seen may be too much for it.
    """
    model = build_unet(**options)

    def call(layer, *arguments, **keywords):
        if not ("_block_" in layer.name and layer.name.endswith("_add")):
            return layer(*arguments, **keywords)
        x, inside = arguments[0]
        name = layer.name.removesuffix("_add")
        around = layers.AveragePooling2D(
            GATE_WINDOW, strides=1, padding="same", name=f"{name}_around"
        )(inside)
        gate = layers.Conv2D(
            inside.shape[-1],
            1,
            use_bias=False,
            activation="sigmoid",
            kernel_initializer="zeros",
            name=f"{name}_gate",
        )(around)
        gated = layers.Multiply(name=f"{name}_gated")([inside, layers.Rescaling(2.0)(gate)])
        return layer([x, gated])

    with keras.saving.custom_object_scope({"ZeroSum": ZeroSum}):
        return keras.models.clone_model(model, call_function=call)


def build_pre_activated(**options) -> keras.Model:
    """Builds the U-Net whose blocks have a ReLU before their first convolution too.

    It costs no multiply-add, and the network bends twice as often on its way: 14 times for 7 in
    `base`, where DnCNN of 17 layers does it 16 times. After He et al. 2016, "Identity Mappings in
    Deep Residual Networks", without normalisation.
    """
    model = build_unet(**options)

    def call(layer, *arguments, **keywords):
        if "_block_" in layer.name and layer.name.endswith("_conv_1"):
            arguments = (layers.ReLU(name=f"{layer.name}_before")(arguments[0]), *arguments[1:])
        return layer(*arguments, **keywords)

    with keras.saving.custom_object_scope({"ZeroSum": ZeroSum}):
        return keras.models.clone_model(model, call_function=call)


def register() -> None:
    """Enters the networks into `NETWORKS`, with the defaults of the U-Net."""
    unet = NETWORKS["unet"]
    levels_of = {
        "one_level": {"base": 1},
        "overlapping_tail": {"base": 2},
        "gated": {"base": 2},
        "pre_activated": unet.levels,
    }
    for name, levels in levels_of.items():
        NETWORKS[name.replace("_", "-")] = dataclasses.replace(
            unet,
            summary=f"U-Net, {name.replace('_', ' ')}: an experiment",
            builder=f"ablation_networks:build_{name}",
            sizes=tuple(levels),
            levels=levels,
            levels_enlarging={},
        )
