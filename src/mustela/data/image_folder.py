"""Where the pictures of a data set lie: paths that stay inside, sizes as shown, broken files by name."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mustela.errors import ImageError
from mustela.regions import FirstFrameWarning, image_size, load_image
from mustela.regions.image import MAX_PIXELS

Symlinks = Literal["follow", "inside", "refuse"]
ImageCheck = Literal["none", "size", "decode"]

_REMEMBERED = 50_000


def locate_image(
    path: str, folder: str | Path, *, absolute_paths: bool = False, symlinks: Symlinks = "follow"
) -> Path:
    """Return the full path of a record's picture.

    Data files come from elsewhere, so a path must stay in the folder: `sub/../a.jpg` does, `../a.jpg` not.

    Args:
        path: as the record has it, relative to the folder.
        folder: the image folder.
        absolute_paths: take an absolute path as it is, wherever it leads.
        symlinks: links inside the folder are the owner's, so "follow" takes them wherever they lead; "inside"
            only where the target is in the folder as well; "refuse" never.

    Raises:
        ImageError: the path is not allowed. Whether the file exists is not looked at, unless links matter.
    """
    if not path or "\0" in path:
        raise ImageError(f"image path {path!r} is empty or holds a zero byte.")
    root = Path(folder)
    path = _file_name(path)
    if Path(path).is_absolute():
        if not absolute_paths:
            raise ImageError(
                f"image path {path!r} is absolute. Make it relative to the image folder {root}, or allow "
                "absolute paths by setting absolute_paths."
            )
        return Path(path)
    relative = os.path.normpath(path)
    if relative.split(os.sep, 1)[0] == os.pardir:
        raise ImageError(f"image path {path!r} leaves the image folder {root}. Move the file into it.")
    full = root / relative
    if symlinks != "follow":
        _check_links(full, root, relative, symlinks)
    return full


def _file_name(text: str) -> str:
    """Return the name of a file as Python spells it here: under a locale without Unicode, not as its text."""
    try:
        return os.fsdecode(text.encode("utf-8", errors="surrogateescape"))
    except UnicodeEncodeError as error:
        raise ImageError(f"image path {text!r} holds half a surrogate pair.") from error


def _check_links(full: Path, root: Path, relative: str, symlinks: Symlinks) -> None:
    linked = [part for part in (full, *full.parents[: len(Path(relative).parts) - 1]) if part.is_symlink()]
    if not linked:
        return
    if symlinks == "refuse":
        raise ImageError(f"{linked[0]} is a symbolic link, and symlinks is set to 'refuse'.")
    if not full.resolve().is_relative_to(root.resolve()):
        raise ImageError(
            f"{full} links to {full.resolve()} outside the image folder, and symlinks is set to 'inside'."
        )


@dataclass(frozen=True, slots=True)
class ImageFault:
    """Why a picture can't be used; `kind` as in `mustela.data.faults.Fault`."""

    kind: str
    message: str
    remedy: str


class ImageFolder:
    """Looks at the pictures of one folder, at each once.

    `check` says how closely: "size" opens each file and reads its header, "decode" decodes all pixels, "none"
    only checks that paths stay in the folder.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        check: ImageCheck = "size",
        absolute_paths: bool = False,
        symlinks: Symlinks = "follow",
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.folder = Path(folder)
        self.check = check
        self._absolute_paths = absolute_paths
        self._symlinks: Symlinks = symlinks
        self._max_pixels = max_pixels
        self._seen: dict[str, tuple[int, int] | ImageFault | None] = {}

    def look(self, path: str) -> tuple[int, int] | ImageFault | None:
        """Return (width, height) as shown, what is wrong with the picture, or None where nobody looked."""
        if path not in self._seen:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            self._seen[path] = self._look(path)
        return self._seen[path]

    def is_turned(self, path: str) -> bool:
        """Whether the file's EXIF orientation exchanges width and height."""
        try:
            full = self._locate(path)
            return image_size(full) != image_size(full, exif=False)
        except ImageError:
            return False

    def _locate(self, path: str) -> Path:
        return locate_image(path, self.folder, absolute_paths=self._absolute_paths, symlinks=self._symlinks)

    def _look(self, path: str) -> tuple[int, int] | ImageFault | None:
        try:
            full = self._locate(path)
        except ImageError as error:
            return ImageFault("image.path", str(error), "")
        if self.check == "none":
            return None
        if not full.is_file():
            return ImageFault("image.missing", f"image not found: {full}.", _other_spelling(full))
        try:
            if self.check == "size":
                return image_size(full, max_pixels=self._max_pixels)
            with warnings.catch_warnings():
                # That only the first frame of an animation counts is said when it is used.
                warnings.simplefilter("ignore", FirstFrameWarning)
                return load_image(full, max_pixels=self._max_pixels).size
        except ImageError as error:
            return ImageFault("image.unreadable", str(error), "")


class PicturesInside(ImageFolder):
    """Looks at pictures that came with a record, by the paths that it has for them."""

    def __init__(self, pictures: Mapping[str, bytes], *, max_pixels: int = MAX_PIXELS) -> None:
        super().__init__("", max_pixels=max_pixels)
        self._pictures = pictures

    def is_turned(self, path: str) -> bool:
        """Whether the picture's EXIF orientation exchanges width and height."""
        content = self._pictures[path]
        return image_size(content) != image_size(content, exif=False)

    def _look(self, path: str) -> tuple[int, int] | ImageFault | None:
        if path not in self._pictures:
            return ImageFault("image.missing", f"no picture {path!r} lies beside the record.", "")
        try:
            return image_size(self._pictures[path], max_pixels=self._max_pixels)
        except ImageError as error:
            return ImageFault("image.unreadable", str(error), "")


def _other_spelling(full: Path) -> str:
    try:
        names = [file.name for file in full.parent.iterdir() if file.name.casefold() == full.name.casefold()]
    except OSError:
        return f"The folder {full.parent} does not exist or can't be read. Check the image folder."
    if names:
        return f"The folder has {names[0]!r}; upper and lower case differ."
    return "Check the image folder and the path in the record."
