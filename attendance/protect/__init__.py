"""Templates that can be revoked: everything stored is turned by an orthogonal matrix that a secret key gives."""

from attendance.protect.embedder import ProtectedEmbedder, protected
from attendance.protect.keys import TemplateKey, add_key, key_named, read_keys
from attendance.protect.transform import rotation, turned

__all__ = [
    "ProtectedEmbedder",
    "TemplateKey",
    "add_key",
    "key_named",
    "protected",
    "read_keys",
    "rotation",
    "turned",
]
