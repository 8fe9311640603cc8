"""Which files are images, told by the ending of their name or, without a known ending, by their content."""

import os
import stat
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec

from PIL import Image

# Accepted without asking Pillow, which takes 0.1 s to load all its formats.
COMMON_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
AVIF_SUFFIXES = frozenset({".avif", ".avifs"})
RAW_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".kdc", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf",
     ".raw", ".rw2", ".sr2", ".srf", ".srw", ".x3f"}
)  # fmt: skip
# Photographs that Pillow may not be able to read. They count as unreadable: nobody shall train without them unawares.
PHOTO_SUFFIXES = HEIF_SUFFIXES | AVIF_SUFFIXES | RAW_SUFFIXES
# Pillow also opens these, but they are documents, videos and programs.
NOT_PHOTOS = frozenset({".pdf", ".mpg", ".mpeg", ".eps", ".ps"})
KINDS: Mapping[str, frozenset[str]] = {
    "a video": frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".3gp", ".wmv", ".mts"}),
    "an archive": frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"}),
    "a document": frozenset({".pdf", ".eps", ".ps", ".svg", ".doc", ".docx", ".html", ".htm", ".xlsx", ".pptx"}),
    "a text file": frozenset({".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".log", ".aae",
                              ".xmp", ".py", ".ipynb", ".ini", ".parquet"}),
    "a sound": frozenset({".mp3", ".wav", ".m4a", ".flac", ".ogg"}),
}  # fmt: skip
SYSTEM_FILES = {"thumbs.db": "thumbnails of Windows", "desktop.ini": "settings of Windows", "icon\r": "icon of macOS"}
SYSTEM_FOLDERS = {
    "__macosx": "metadata of a macOS archive", "@eadir": "thumbnails of a Synology disk", "#recycle": "a recycle bin",
    "$recycle.bin": "a recycle bin", "lost+found": "recovered parts of files",
    "system volume information": "data of Windows",
}  # fmt: skip
# Formats that content alone may prove; nothing that Pillow would run or that a short text could be.
SNIFFED_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "AVIF", "HEIF", "JPEG2000")


def is_image(name: str) -> bool:
    """Whether a file of this name counts as an image, by its ending."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix in COMMON_SUFFIXES or suffix in PHOTO_SUFFIXES or suffix in image_suffixes()


def system_folder(name: str) -> str:
    """What a folder of this name is, "" if it may be a class or hold images."""
    if name.startswith("."):
        return "a hidden folder"
    return SYSTEM_FOLDERS.get(name.lower(), "")


def why_unused(name: str, path: str) -> str:
    """Why the file ``path`` with this name is not used; "" if it is an image."""
    if name.startswith("._"):
        return "metadata of macOS, not an image"
    if name.startswith("."):
        return "a hidden file"
    if known := SYSTEM_FILES.get(name.lower()):
        return known
    if is_image(name):
        return ""
    suffix = os.path.splitext(name)[1].lower()
    for kind, suffixes in KINDS.items():
        if suffix in suffixes:
            return f"{kind}, not an image"
    return "" if _has_image_content(path) else "not an image"


def _has_image_content(path: str) -> bool:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        register_plugins()
        with Image.open(path, formats=[name for name in SNIFFED_FORMATS if name in Image.OPEN or name in Image.ID]):
            return True
    except Exception:  # Pillow's plugins raise nearly anything on a strange file
        return False


@lru_cache(maxsize=1)
def image_suffixes() -> frozenset[str]:
    """File name endings, in lower case with the dot, of the formats that this Pillow can read."""
    register_plugins()
    readable = {ending for ending, fmt in Image.registered_extensions().items() if fmt in Image.OPEN}
    return frozenset(readable - NOT_PHOTOS)


@lru_cache(maxsize=1)
def register_plugins() -> None:
    """Let Pillow load its formats, and HEIC where the package pillow-heif is installed."""
    Image.init()
    if find_spec("pillow_heif") is not None:
        from pillow_heif import register_heif_opener

        register_heif_opener()


def why_unreadable(suffix: str) -> str:
    """What to do about a photograph with this ending if Pillow cannot read the format; "" if it can."""
    if suffix in RAW_SUFFIXES:
        return "a RAW file of a camera; export it as JPEG"
    if suffix not in HEIF_SUFFIXES | AVIF_SUFFIXES or suffix in image_suffixes():
        return ""
    if suffix in HEIF_SUFFIXES:
        return "a HEIC photo; to read it: pip install pillow-heif"
    return "an AVIF photo; to read it: pip install 'pillow>=11.3'"


def some_suffixes() -> str:
    """Examples of endings, for a message."""
    return ".jpg, .png, .webp and whatever else Pillow reads"
