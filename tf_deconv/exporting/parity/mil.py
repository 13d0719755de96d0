"""Computes a Core ML program, operator by operator: Core ML itself runs on Apple's machines alone.

The program and its weights are read from the `.mlpackage` as it was written. What an operator means
is from the documentation of coremltools' MIL; NumPy and TensorFlow compute it in float32. It knows
the operators that our networks become, and refuses any other by its name. Stands alone, as `runner`
does.
"""

import numpy as np


class Program:
    """A `.mlpackage` of one input and one output.

    Attributes:
      is_image: Whether pictures are images, whose values run from 0 to 255.
    """

    def __init__(self, path):
        import coremltools as ct
        from coremltools.converters.mil.frontend.milproto import load

        model = ct.models.MLModel(path, skip_model_load=True)
        spec = model.get_spec()
        (given,) = spec.description.input
        self.is_image = given.type.WhichOneof("Type") == "imageType"
        program = load.load(spec, spec.specificationVersion, model.weights_dir)
        (self.function,) = program.functions.values()

    def __call__(self, image):
        """Runs (1, C, H, W) float32."""
        (name,) = self.function.inputs
        known = {name: image}

        def value(variable):
            if isinstance(variable, (list, tuple)):
                return [value(each) for each in variable]
            return known.get(variable.name, variable.val)

        for operation in self.function.operations:
            if operation.op_type == "const":
                continue
            if operation.op_type not in OPERATORS:
                raise NotImplementedError(f"operator {operation.op_type} is not known here")
            inputs = {key: value(each) for key, each in operation.inputs.items()}
            (output,) = operation.outputs
            known[output.name] = OPERATORS[operation.op_type](**inputs)
        return value(self.function.outputs[0])


def _same(size, kernel, stride):
    """Returns what `same` pads before and after: as TensorFlow does."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


def _concat(values, axis, interleave=False):
    if interleave:
        raise NotImplementedError("concat that interleaves")
    return np.concatenate(values, axis)


def _conv(x, weight, strides, pad_type, pad, dilations, groups, bias=None):
    import tensorflow as tf

    if groups != 1 or list(dilations) != [1, 1]:
        raise NotImplementedError("conv of groups or dilations")
    if pad_type == "valid":
        pads = [(0, 0), (0, 0)]
    elif pad_type == "same":
        pads = [_same(x.shape[2 + i], weight.shape[2 + i], strides[i]) for i in (0, 1)]
    else:
        pads = [tuple(pad[:2]), tuple(pad[2:])]
    x = np.pad(x, [(0, 0), (0, 0), *pads]).transpose(0, 2, 3, 1)
    kernel = np.asarray(weight, np.float32).transpose(2, 3, 1, 0)
    made = tf.nn.conv2d(x, kernel, list(strides), "VALID").numpy().transpose(0, 3, 1, 2)
    return made if bias is None else made + np.reshape(bias, (1, -1, 1, 1))


def _conv_transpose(
    x, weight, strides, pad_type, pad, dilations, groups, bias=None, output_shape=None
):
    if groups != 1 or list(dilations) != [1, 1]:
        raise NotImplementedError("conv_transpose of groups or dilations")
    # As it is defined: each pixel lays its kernel, times its value, on the result.
    kernel = np.asarray(weight, np.float32)  # (C, C', h, w)
    height, width = ((x.shape[2 + i] - 1) * strides[i] + kernel.shape[2 + i] for i in (0, 1))
    made = np.zeros((x.shape[0], kernel.shape[1], height, width), np.float32)
    for row, column in np.ndindex(*kernel.shape[2:]):
        laid = np.einsum("nchw,co->nohw", x, kernel[:, :, row, column], optimize=True)
        rows = slice(row, row + strides[0] * x.shape[2], strides[0])
        columns = slice(column, column + strides[1] * x.shape[3], strides[1])
        made[:, :, rows, columns] += laid
    if pad_type == "same":
        wanted = [x.shape[2 + i] * strides[i] for i in (0, 1)]
        cut = [max(0, made.shape[2 + i] - wanted[i]) // 2 for i in (0, 1)]
        made = made[:, :, cut[0] : cut[0] + wanted[0], cut[1] : cut[1] + wanted[1]]
    elif pad_type == "custom":
        top, bottom, left, right = pad
        made = made[:, :, top : made.shape[2] - bottom, left : made.shape[3] - right]
    if output_shape is not None and tuple(output_shape) != made.shape:
        raise NotImplementedError(f"conv_transpose gives {made.shape}, asked for {output_shape}")
    return made if bias is None else made + np.reshape(bias, (1, -1, 1, 1))


def _max_pool(x, kernel_sizes, strides, pad_type, pad, ceil_mode=False):
    import tensorflow as tf

    if pad_type not in ("valid", "same") or ceil_mode:
        raise NotImplementedError(f"max_pool padded by {pad_type}")
    picture = x.transpose(0, 2, 3, 1)
    made = tf.nn.max_pool2d(picture, list(kernel_sizes), list(strides), pad_type.upper())
    return made.numpy().transpose(0, 3, 1, 2)


def _avg_pool(
    x, kernel_sizes, strides, pad_type, pad, exclude_padding_from_average=False, ceil_mode=False
):
    import tensorflow as tf

    # TensorFlow leaves padding out of the mean.
    is_same = pad_type == "same" and exclude_padding_from_average
    if (pad_type != "valid" and not is_same) or ceil_mode:
        raise NotImplementedError(f"avg_pool padded by {pad_type}")
    picture = x.transpose(0, 2, 3, 1)
    made = tf.nn.avg_pool2d(picture, list(kernel_sizes), list(strides), pad_type.upper())
    return made.numpy().transpose(0, 3, 1, 2)


def _slice_by_index(x, begin, end, stride=None, begin_mask=None, end_mask=None, squeeze_mask=None):
    def of(values, axis, otherwise):
        return otherwise if values is None else values[axis]

    if squeeze_mask is not None and any(squeeze_mask):
        raise NotImplementedError("slice_by_index that squeezes")
    places = [
        slice(
            None if of(begin_mask, axis, False) else int(begin[axis]),
            None if of(end_mask, axis, False) else int(end[axis]),
            int(of(stride, axis, 1)),
        )
        for axis in range(x.ndim)
    ]
    return x[tuple(places)]


def _pad(x, pad, mode="constant", constant_val=0.0):
    pairs = np.reshape(pad, (-1, 2)).tolist()
    pairs = [(0, 0)] * (x.ndim - len(pairs)) + [tuple(each) for each in pairs]
    if mode == "constant":
        return np.pad(x, pairs, constant_values=constant_val)
    return np.pad(x, pairs, mode={"reflect": "reflect", "replicate": "edge"}[mode])


def _cast(x, dtype):
    # Values are rounded to what is stored, and computed with in float32.
    return np.asarray(x).astype({"fp16": np.float16, "fp32": np.float32}[dtype]).astype(np.float32)


def _depth_to_space(x, block_size):
    """Channels are (row, column, c), as TensorFlow's are."""
    count, _, height, width = x.shape
    cells = x.reshape(count, block_size, block_size, -1, height, width)
    made = cells.transpose(0, 3, 4, 1, 5, 2)
    return made.reshape(count, -1, height * block_size, width * block_size)


OPERATORS = {
    "add": lambda x, y: np.add(x, y, dtype=np.float32),
    "sub": lambda x, y: np.subtract(x, y, dtype=np.float32),
    "mul": lambda x, y: np.multiply(x, y, dtype=np.float32),
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "clip": lambda x, alpha, beta: np.clip(x, alpha, beta),
    "maximum": lambda x, y: np.maximum(x, y, dtype=np.float32),
    "minimum": lambda x, y: np.minimum(x, y, dtype=np.float32),
    "identity": lambda x: x,
    "transpose": lambda x, perm: np.transpose(x, perm),
    "concat": _concat,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "slice_by_index": _slice_by_index,
    "pad": _pad,
    "cast": _cast,
    "depth_to_space": _depth_to_space,
}
