"""The three networks on a processor by kernels of our own.

Half of torch's time in these small networks goes into PReLU and max-pooling, and much of the rest into its calls. Here
a piece of pictures goes through a whole network in one call. Channels are innermost everywhere (N, H, W, C). Results
equal those of the modules in `attendance.nets.mtcnn` up to rounding.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import torch
from numba.core.errors import NumbaError
from torch import Tensor, nn
from torch.nn import functional

from attendance.detect import kernels
from attendance.detect.kernels import TILE, WINDOW_HEADS, Layer
from attendance.nets.mtcnn import ONet, PNet, RNet
from attendance.simd import vectors
from attendance.simd.products import panels
from attendance.simd.vectors import NARROW
from attendance.simd.winograd import transformed
from attendance.types import Float32

logger = logging.getLogger(__name__)

MOST_APART = 1e-3
"""How far a logit or an offset may be from the plain networks' on pictures of noise; rounding makes it 0.00003."""


class QuickNets(NamedTuple):
    """The three."""

    pnet: QuickPNet
    rnet: QuickRNet
    onet: QuickONet


def quick(pnet: PNet, rnet: RNet, onet: ONet) -> QuickNets | None:
    """The networks by our kernels where these can be compiled and compute the same here; else None."""
    nets = QuickNets(QuickPNet(pnet), QuickRNet(rnet), QuickONet(onet))
    try:
        apart = _apart(nets, (pnet, rnet, onet))
    except NumbaError as error:
        logger.info("the detector's kernels cannot be compiled here, it runs without: %s", error)
        return None
    if not apart <= MOST_APART:
        logger.warning("the detector's kernels give other numbers here (%.6f apart), it runs without", apart)
        return None
    return nets


def _apart(nets: QuickNets, plain: tuple[PNet, RNet, ONet]) -> float:
    noise = np.random.default_rng(0).uniform(-1, 1, (3, 48, 48, 3)).astype(np.float32)
    crops = np.ascontiguousarray(noise[:, :24, :24])
    with torch.inference_mode():
        windows, *heads = (
            net(torch.from_numpy(pictures).permute(0, 3, 1, 2)).numpy()
            for net, pictures in zip(plain, (noise, crops, noise), strict=True)
        )
    expected = np.concatenate((windows[:, 1:2] - windows[:, :1], windows[:, 2:]), axis=1).transpose(0, 2, 3, 1)
    pairs = zip((nets.pnet(noise, -np.inf), nets.rnet(crops), nets.onet(noise)), (expected, *heads), strict=True)
    return max(float(np.abs(found - wanted).max()) for found, wanted in pairs)


class QuickPNet:
    """PNet up to its scores."""

    def __init__(self, net: PNet) -> None:
        self._layers = (
            _convolution(net.conv1, net.prelu1, net.pool1),
            _convolution(net.conv2, net.prelu2),
            _tiled(net.conv3, net.prelu3),
        )
        logits, offsets = net.conv4_1.state_dict(), net.conv4_2.state_dict()
        weights, biases = (torch.cat((logits[key][1:] - logits[key][:1], offsets[key])) for key in ("weight", "bias"))
        self._heads = _numbers(weights.flatten(1)), _numbers(biases)

    def __call__(self, pictures: Float32, least_logit: float) -> Float32:
        """(N, H, W, 3) -> (N, rows, columns, 5): logit difference, and offsets where it reaches ``least_logit``."""
        rows, columns = ((side - 1) // 2 - 4 for side in pictures.shape[1:3])
        windows = np.empty((len(pictures), rows, columns, WINDOW_HEADS), np.float32)
        kernels.propose(*self._layers, *self._heads, pictures, least_logit, windows)
        return windows


class QuickRNet:
    """RNet."""

    def __init__(self, net: RNet) -> None:
        self._layers = (
            _convolution(net.conv1, net.prelu1, net.pool1),
            _tiled(net.conv2, net.prelu2, net.pool2),
            _convolution(net.conv3, net.prelu3),
            _dense(net.dense4, net.prelu4),
            _heads(net.dense5_1, net.dense5_2),
        )

    def __call__(self, crops: Float32) -> Float32:
        """(N, 24, 24, 3) -> (N, 6)."""
        out = np.empty((len(crops), 6), np.float32)
        kernels.conclude(*self._layers[2:], kernels.refine(*self._layers[:2], crops), out)
        return out


class QuickONet:
    """ONet."""

    def __init__(self, net: ONet) -> None:
        self._layers = (
            _convolution(net.conv1, net.prelu1, net.pool1),
            _tiled(net.conv2, net.prelu2, net.pool2),
            _tiled(net.conv3, net.prelu3, net.pool3),
            _convolution(net.conv4, net.prelu4),
            _dense(net.dense5, net.prelu5),
            _heads(net.dense6_1, net.dense6_2, net.dense6_3),
        )

    def __call__(self, crops: Float32) -> Float32:
        """(N, 48, 48, 3) -> (N, 16)."""
        out = np.empty((len(crops), 16), np.float32)
        kernels.conclude(*self._layers[3:], kernels.output(*self._layers[:3], crops), out)
        return out


def _convolution(convolution: nn.Conv2d, prelu: nn.PReLU, pool: nn.MaxPool2d | None = None) -> Layer:
    weight, bias = convolution.state_dict()["weight"], convolution.state_dict()["bias"]
    return _layer(
        weight.permute(0, 2, 3, 1).flatten(2),
        bias,
        prelu.weight.detach(),
        0 if pool is None else int(str(pool.kernel_size)),
    )


def _tiled(convolution: nn.Conv2d, prelu: nn.PReLU, pool: nn.MaxPool2d | None = None) -> Layer:
    """A convolution of 3x3 for Winograd's method."""
    weight = convolution.weight.detach()
    layer = _convolution(convolution, prelu, pool)
    filled = functional.pad(weight, (0, 0, 0, 0, 0, 0, 0, layer.channels - len(weight)))
    return layer._replace(weights=panels(transformed(filled, TILE), layer.width).ravel())


def _dense(dense: nn.Linear, prelu: nn.PReLU) -> Layer:
    # The published weights expect columns before rows before channels; here rows come before columns.
    side = 3
    weight = dense.weight.detach().view(dense.out_features, side, side, -1).transpose(1, 2).flatten(1)
    return _layer(weight[:, None], dense.bias.detach(), prelu.weight.detach())


def _heads(*heads: nn.Linear) -> Layer:
    """All heads side by side."""
    weight, bias = (torch.cat([head.state_dict()[key] for head in heads]) for key in ("weight", "bias"))
    return _layer(weight[:, None], bias, torch.ones_like(bias))


def _layer(weight: Tensor, bias: Tensor, slopes: Tensor, pool: int = 0) -> Layer:
    """Weights (channels, bands, length) laid out for the kernels."""
    channels, bands, length = weight.shape
    wide = 2 * vectors.lanes()
    width = wide if channels % wide == 0 else 2 * NARROW
    more = -channels % width
    filled = functional.pad(weight.flatten(1), (0, 0, 0, more))
    return Layer(
        weights=panels(filled[None], width).ravel(),
        biases=_numbers(functional.pad(bias, (0, more))),
        slopes=_numbers(functional.pad(slopes, (0, more))),
        ones=np.ones(channels + more, np.float32),
        bands=bands,
        length=length,
        channels=channels + more,
        used=channels,
        width=width,
        pool=pool,
    )


def _numbers(tensor: Tensor) -> Float32:
    numbers: Float32 = np.ascontiguousarray(tensor.detach().numpy())
    return numbers
