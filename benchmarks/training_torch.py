"""Contenders of training.py in PyTorch: the same networks, channels-last."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional
from training_work import best_rate, load_facts, load_pairs

LOSSES = {"mse": functional.mse_loss, "l1": functional.l1_loss}


class Article(nn.Module):
    """`tf_deconv.networks.article`, in the order of its weights."""

    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.encoder = nn.Conv2d(channels_in, 32, 3, padding=1)
        self.deconv_1 = nn.ConvTranspose2d(32, 64, 4, stride=2, padding=1)
        self.conv = nn.Conv2d(64, 64, 3, padding=1)
        self.deconv_2 = nn.ConvTranspose2d(64, channels_out, 4)
        self.dense = nn.Conv2d(channels_out, channels_out, 1)
        # As there: the relu before so few channels would die.
        nn.init.constant_(self.deconv_2.bias, 1.0)
        nn.init.constant_(self.dense.bias, -4.0)
        with torch.no_grad():
            self.dense.weight.copy_(4.0 * torch.eye(channels_out)[:, :, None, None])

    def forward(self, x):
        x = functional.max_pool2d(torch.relu(self.encoder(x)), 2)
        x = torch.relu(self.conv(torch.relu(self.deconv_1(x))))
        x = torch.relu(self.deconv_2(x)[:, :, 1:-2, 1:-2])  # Keras's "same".
        return torch.sigmoid(self.dense(x))


class Block(nn.Module):
    def __init__(self, filters):
        super().__init__()
        self.conv_1 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.conv_2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)

    def forward(self, x):
        return x + self.conv_2(torch.relu(self.conv_1(x)))


class UNet(nn.Module):
    """`tf_deconv.networks.unet` for as many channels out as in, in the order of its weights."""

    def __init__(self, channels, filters, blocks, space_to_depth):
        super().__init__()
        kernel_size, stride = (6, 2) if space_to_depth else (3, 1)
        self.head = nn.Conv2d(
            channels,
            filters[0],
            kernel_size,
            stride,
            padding=(kernel_size - stride) // 2,
            padding_mode="reflect",
            bias=False,
        )
        pairs = list(itertools.pairwise(filters))
        self.encoders, self.downs, self.ups, self.decoders = (nn.ModuleList() for _ in range(4))
        for (narrow, wide), count in zip(pairs, blocks):
            self.encoders.append(_blocks(narrow, count))
            self.downs.append(nn.Conv2d(narrow, wide, 2, stride=2, bias=False))
        self.bottom = _blocks(filters[-1], blocks[-1])
        for (narrow, wide), count in reversed(list(zip(pairs, blocks))):
            self.ups.append(nn.ConvTranspose2d(wide, narrow, 2, stride=2, bias=False))
            self.decoders.append(_blocks(narrow, count))
        self.tail = (
            nn.ConvTranspose2d(filters[0], channels, 2, stride=2, bias=False)
            if space_to_depth
            else nn.Conv2d(filters[0], channels, 3, padding=1, bias=False)
        )
        for weight in self.parameters():
            nn.init.kaiming_normal_(weight)
        nn.init.zeros_(self.tail.weight)

    def weights(self):
        """Yields the weights in the order of Keras's layers."""
        yield self.head.weight
        for encoder, down in zip(self.encoders, self.downs):
            yield from encoder.parameters()
            yield down.weight
        yield from self.bottom.parameters()
        for up, decoder in zip(self.ups, self.decoders):
            yield up.weight
            yield from decoder.parameters()
        yield self.tail.weight

    def forward(self, image):
        x, skips = self.head(image), []
        for encoder, down in zip(self.encoders, self.downs):
            skips.append(encoder(x))
            x = down(skips[-1])
        x = self.bottom(x)
        for up, decoder in zip(self.ups, self.decoders):
            x = decoder(up(x) + skips.pop())
        return image + self.tail(x)


def _blocks(filters, count):
    return nn.Sequential(*(Block(filters) for _ in range(count)))


def build(facts):
    """Builds the twin of the network that `training_work.prepare` described."""
    channels_in, channels_out = facts["channels"]
    if facts["levels"] is None:
        return Article(channels_in, channels_out)
    return UNet(channels_in, **facts["levels"])


def train(work, bfloat16, compiled=None):
    """Trains with Adam.

    Args:
      work: What is trained.
      bfloat16: Whether convolutions are computed in it; else in float32 (on a GPU: TF32).
      compiled: Mode of `torch.compile`; None: not compiled.
    Returns:
      As the contenders of training_keras.
    """
    facts = load_facts()
    device = "cuda" if work.device == "gpu" else "cpu"
    on_gpu = device == "cuda"
    if on_gpu:
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    layout = torch.channels_last
    model = build(facts).to(device, memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), fused=on_gpu or None)
    x, y = (
        torch.from_numpy(array[: work.batch_size])
        .permute(0, 3, 1, 2)
        .to(device)
        .contiguous(memory_format=layout)
        for array in load_pairs()
    )
    call = model if compiled is None else torch.compile(model, mode=compiled)
    loss = LOSSES[facts["loss"]]

    def run():
        for _ in range(work.steps):
            optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
                output = call(x)
            loss(output.float(), y).backward()
            optimizer.step()
        if on_gpu:
            torch.cuda.synchronize()

    precision = "mixed_bfloat16" if bfloat16 else "float32"
    name = torch.cuda.get_device_name() if on_gpu else "CPU"
    return {"rate": best_rate(run, work.images), "precision": precision, "device": name}
