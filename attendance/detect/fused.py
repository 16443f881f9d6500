"""The three networks on a processor: torch's convolutions, and loops of our own for what lies between them.

Half of torch's time in these small networks goes into PReLU and max-pooling, so both are one pass here, and the windows
of PNet get box offsets only where their score asks for them. Channels are innermost everywhere (N, H, W, C), and the
odd channel counts 10 and 28 are padded with zeros to 16 and 32, which convolves faster. Results equal those of the
modules in `attendance.nets.mtcnn` up to rounding.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from attendance.compiled import compiled
from attendance.nets.mtcnn import ONet, PNet, RNet
from attendance.types import Float32

WINDOW_HEADS = 5  # logit difference and four box offsets


class FusedPNet:
    """PNet up to its scores."""

    def __init__(self, net: PNet) -> None:
        self._layers = (
            _Convolution(net.conv1, net.prelu1, channels=16),
            _Convolution(net.conv2, net.prelu2, inputs=16),
            _Convolution(net.conv3, net.prelu3),
        )
        logits, offsets = net.conv4_1.state_dict(), net.conv4_2.state_dict()
        weights, biases = (torch.cat((logits[key][1:] - logits[key][:1], offsets[key])) for key in ("weight", "bias"))
        self._weights = _numbers(weights.flatten(1))
        self._biases = _numbers(biases)

    def __call__(self, pictures: Float32, least_logit: float) -> Float32:
        """(N, H, W, 3) -> (N, rows, columns, 5): logit difference, and offsets where it reaches ``least_logit``."""
        first, second, third = self._layers
        x = third.raw(second.activated(first.pooled(pictures, 2)))
        windows = np.zeros((*x.shape[:3], WINDOW_HEADS), np.float32)
        _score_windows(x, third.slopes, self._weights, self._biases, least_logit, windows)
        return windows


class FusedRNet:
    """RNet."""

    def __init__(self, net: RNet) -> None:
        self._layers = (
            _Convolution(net.conv1, net.prelu1, channels=32),
            _Convolution(net.conv2, net.prelu2, inputs=32),
            _Convolution(net.conv3, net.prelu3),
        )
        self._top = _Top(net.dense4, net.prelu4, (net.dense5_1, net.dense5_2))

    def __call__(self, crops: Float32) -> Float32:
        """(N, 24, 24, 3) -> (N, 6)."""
        first, second, third = self._layers
        return self._top(third.activated(second.pooled(first.pooled(crops, 3), 3)))


class FusedONet:
    """ONet."""

    def __init__(self, net: ONet) -> None:
        self._layers = (
            _Convolution(net.conv1, net.prelu1),
            _Convolution(net.conv2, net.prelu2),
            _Convolution(net.conv3, net.prelu3),
            _Convolution(net.conv4, net.prelu4),
        )
        self._top = _Top(net.dense5, net.prelu5, (net.dense6_1, net.dense6_2, net.dense6_3))

    def __call__(self, crops: Float32) -> Float32:
        """(N, 48, 48, 3) -> (N, 16)."""
        first, second, third, fourth = self._layers
        x = third.pooled(second.pooled(first.pooled(crops, 3), 3), 2)
        return self._top(fourth.activated(x))


class _Convolution:
    """A convolution and the PReLU behind it; zeros are added up to the given numbers of inputs and channels."""

    def __init__(
        self, convolution: nn.Conv2d, prelu: nn.PReLU, *, inputs: int | None = None, channels: int | None = None
    ) -> None:
        weight, bias = convolution.state_dict()["weight"], convolution.state_dict()["bias"]
        more_inputs = 0 if inputs is None else inputs - weight.shape[1]
        more = 0 if channels is None else channels - weight.shape[0]
        padded = functional.pad(weight, (0, 0, 0, 0, 0, more_inputs, 0, more))
        self._weight = padded.contiguous(memory_format=torch.channels_last)
        self._bias = functional.pad(bias, (0, more))
        self.slopes = _numbers(functional.pad(prelu.weight, (0, more)))

    def raw(self, x: Float32) -> Float32:
        """The convolution alone: (N, H, W, inputs) -> (N, H', W', channels)."""
        y: Tensor = functional.conv2d(torch.from_numpy(x).permute(0, 3, 1, 2), self._weight, self._bias)
        found: Float32 = np.ascontiguousarray(y.permute(0, 2, 3, 1).numpy())
        return found

    def activated(self, x: Float32) -> Float32:
        """With PReLU."""
        y = self.raw(x)
        _activate(y.reshape(-1, y.shape[-1]), self.slopes)
        return y

    def pooled(self, x: Float32, size: int) -> Float32:
        """With PReLU and the maximum over squares of ``size`` in steps of 2, the last ones cut off by the edge."""
        y = self.raw(x)
        rows, columns = ((side - size + 1) // 2 + 1 for side in y.shape[1:3])
        out = np.empty((y.shape[0], rows, columns, y.shape[3]), np.float32)
        if size == 2:
            _activate_pool_2(y, self.slopes, out)
        else:
            _activate_pool_3(y, self.slopes, out)
        return out


class _Top:
    """The dense layer, its PReLU, and all heads side by side."""

    def __init__(self, dense: nn.Linear, prelu: nn.PReLU, heads: tuple[nn.Linear, ...]) -> None:
        # The published weights expect columns before rows before channels; here rows come before columns.
        side = 3
        weight = dense.weight.detach().view(dense.out_features, side, side, -1)
        self._weight = weight.transpose(1, 2).flatten(1).contiguous()
        self._bias = dense.bias.detach()
        self._slopes = _numbers(prelu.weight)
        self._head_weight = torch.cat([head.weight.detach() for head in heads])
        self._head_bias = torch.cat([head.bias.detach() for head in heads])

    def __call__(self, x: Float32) -> Float32:
        y: Float32 = functional.linear(torch.from_numpy(x).flatten(1), self._weight, self._bias).numpy()
        _activate(y, self._slopes)
        heads: Float32 = functional.linear(torch.from_numpy(y), self._head_weight, self._head_bias).numpy()
        return heads


def _numbers(tensor: Tensor) -> Float32:
    numbers: Float32 = np.ascontiguousarray(tensor.detach().numpy())
    return numbers


@compiled
def _activate(x: Float32, slopes: Float32) -> None:
    """PReLU in place: (rows, channels)."""
    for row in range(x.shape[0]):
        for c in range(x.shape[1]):
            value = x[row, c]
            x[row, c] = value if value > 0 else value * slopes[c]


@compiled
def _steepest(low: float, high: float, slope: float) -> float:
    """The largest PReLU of values between ``low`` and ``high``, both of them taken: slopes may be negative."""
    of_low = low if low > 0 else low * slope
    of_high = high if high > 0 else high * slope
    return max(of_low, of_high)


@compiled
def _activate_pool_2(x: Float32, slopes: Float32, out: Float32) -> None:
    for n in range(out.shape[0]):
        for row in range(out.shape[1]):
            top = 2 * row
            bottom = min(top + 1, x.shape[1] - 1)
            for column in range(out.shape[2]):
                left = 2 * column
                right = min(left + 1, x.shape[2] - 1)
                for c in range(out.shape[3]):
                    v0, v1 = x[n, top, left, c], x[n, top, right, c]
                    v2, v3 = x[n, bottom, left, c], x[n, bottom, right, c]
                    low = min(min(v0, v1), min(v2, v3))
                    high = max(max(v0, v1), max(v2, v3))
                    out[n, row, column, c] = _steepest(low, high, slopes[c])


@compiled
def _activate_pool_3(x: Float32, slopes: Float32, out: Float32) -> None:
    for n in range(out.shape[0]):
        for row in range(out.shape[1]):
            top = 2 * row
            middle = min(top + 1, x.shape[1] - 1)
            bottom = min(top + 2, x.shape[1] - 1)
            for column in range(out.shape[2]):
                left = 2 * column
                centre = min(left + 1, x.shape[2] - 1)
                right = min(left + 2, x.shape[2] - 1)
                for c in range(out.shape[3]):
                    v0, v1, v2 = x[n, top, left, c], x[n, top, centre, c], x[n, top, right, c]
                    v3, v4, v5 = x[n, middle, left, c], x[n, middle, centre, c], x[n, middle, right, c]
                    v6, v7, v8 = x[n, bottom, left, c], x[n, bottom, centre, c], x[n, bottom, right, c]
                    low = min(min(min(v0, v1), min(v2, v3)), min(min(v4, v5), min(min(v6, v7), v8)))
                    high = max(max(max(v0, v1), max(v2, v3)), max(max(v4, v5), max(max(v6, v7), v8)))
                    out[n, row, column, c] = _steepest(low, high, slopes[c])


@compiled
def _dot(x: Float32, weights: Float32) -> np.float32:
    # Eight sums side by side: one running sum would keep the processor from working on several products at once.
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float32(0)
    for c in range(0, x.shape[0], 8):
        s0 += x[c] * weights[c]
        s1 += x[c + 1] * weights[c + 1]
        s2 += x[c + 2] * weights[c + 2]
        s3 += x[c + 3] * weights[c + 3]
        s4 += x[c + 4] * weights[c + 4]
        s5 += x[c + 5] * weights[c + 5]
        s6 += x[c + 6] * weights[c + 6]
        s7 += x[c + 7] * weights[c + 7]
    return np.float32(((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7)))


@compiled
def _score_windows(
    x: Float32, slopes: Float32, weights: Float32, biases: Float32, least_logit: float, windows: Float32
) -> None:
    """PReLU on (N, rows, columns, 32) in place, and the heads on each window as far as they are needed."""
    for n in range(x.shape[0]):
        for row in range(x.shape[1]):
            _activate(x[n, row], slopes)
            for column in range(x.shape[2]):
                features = x[n, row, column]
                difference = _dot(features, weights[0]) + biases[0]
                windows[n, row, column, 0] = difference
                if difference >= least_logit:
                    for head in range(1, WINDOW_HEADS):
                        windows[n, row, column, head] = _dot(features, weights[head]) + biases[head]
