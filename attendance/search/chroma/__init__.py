"""The gallery in Chroma. chromadb is imported in this package alone, and only when a gallery is opened.

``collection``: one collection as a gallery. ``embedded``: in a folder of this machine. ``server``: on a Chroma server.
"""

from attendance.search.chroma.collection import ChromaGallery, GraphSettings
from attendance.search.chroma.embedded import ChromaStore, open_chroma
from attendance.search.chroma.server import ServerGallery, ServerStore

__all__ = ["ChromaGallery", "ChromaStore", "GraphSettings", "ServerGallery", "ServerStore", "open_chroma"]
