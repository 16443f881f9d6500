"""The head that makes an embedder of any network that gives features."""

from __future__ import annotations

from torch import Tensor, nn

from attendance.errors import UsageError

DIMENSION = 512
DROPOUT = 0.4


class EmbeddingHead(nn.Module):
    """BN, dropout 0.4, linear without bias, BN. The division by the length follows in the loss or at the export."""

    def __init__(self, features: int, *, dimension: int = DIMENSION) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(features)
        self.drop = nn.Dropout(DROPOUT)
        self.fc = nn.Linear(features, dimension, bias=False)
        self.bn2 = nn.BatchNorm1d(dimension)

    def forward(self, features: Tensor) -> Tensor:
        """(N, F) -> (N, D) of any length."""
        embeddings: Tensor = self.bn2(self.fc(self.drop(self.bn(features))))
        return embeddings


class HeadedNet(nn.Module):
    """A network (N, 3, H, W) -> (N, F), then `EmbeddingHead`."""

    def __init__(self, backbone: nn.Module, features: int, *, dimension: int = DIMENSION) -> None:
        super().__init__()
        if features < 1:
            raise UsageError(
                f"expected a network with features, got {features} of them: name one that ends in a vector"
            )
        self.backbone = backbone
        self.head = EmbeddingHead(features, dimension=dimension)

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, 3, H, W) -> (N, D) of any length."""
        embeddings: Tensor = self.head(self.backbone(x))
        return embeddings
