"""Class folders and labels.csv as strangers have them."""

from __future__ import annotations

import os
from pathlib import Path

from numpy.random import Generator

from .arrays import data_case
from .case import Case, pick
from .damage import damaged
from .pictures import PICTURES, usual


def odd_folders(draws: Generator, folder: Path, number: int) -> Case:
    """Class folders with odd names and odd files in them."""
    root = folder / "photos"
    root.mkdir()
    classes = pick(draws, CLASSES)
    for name in classes:
        (root / name).mkdir()
        for place in range(pick(draws, (1, 3, 3, 8))):
            (root / name / f"{place}.png").write_bytes(usual(draws))
    made = []
    for _ in range(int(draws.integers(0, 3))):
        what = pick(draws, list(PICTURES))
        inside = root / classes[int(draws.integers(len(classes)))] if classes and draws.random() < 0.9 else root
        name = pick(draws, ("odd.png", "odd.png", "0.png", "odd.JPG", "odd.tif", "odd.webp", "odd.bmp", "odd.gif"))
        (inside / name).write_bytes(PICTURES[what](draws))
        made.append(what)
    if draws.random() < 0.4 or not made:
        change = pick(draws, CHANGES)
        change(root, root / classes[0] if classes else root)
        made.append(change.__name__.strip("_"))
    return data_case(draws, folder, f"folder {number} {'|'.join(classes)[:30]!a} {' '.join(made)}", "photos")


CLASSES: tuple[tuple[str, ...], ...] = (
    ("cat", "dog"),
    ("cat", "dog"),
    ("cat", "dog"),
    tuple(f"c{place}" for place in range(10)),
    tuple(str(place) for place in range(10)),
    ("0", "1", "2", "10", "11"),
    ("00", "0", "1"),
    ("01", "1"),
    ("cat",),
    (),
    ("n01440764", "n01443537"),
    ("n01440764", "n99999999"),
    ("Cat", "cat"),
    ("a b", "a,b"),
    (".hidden", "seen"),
    ("\u732b", "\u72ac", "\U0001f600"),
    ("e\u0301", "\u00e9"),
    ("=cmd|'calc'!A0", "<script>alert(1)"),
    ("new\nline", "\x1b[31mred"),
    ("n" * 250, "o"),
    ("__MACOSX", "cat", "dog"),
    ("train", "val"),
    ("con", "nul", "-rf"),
    ("\udcff\udcfe", "cat"),
    tuple(f"class{place:03}" for place in range(30)),
)


def _nested(root: Path, some: Path) -> None:
    (root / "deep" / "er").mkdir(parents=True)
    (some / "sub").mkdir()
    for path in sorted(some.glob("*.*"))[:2]:
        path.rename(some / "sub" / path.name)


def _no_images(root: Path, _some: Path) -> None:
    (root / "empty").mkdir()


def _other_files(root: Path, some: Path) -> None:
    for place in (root, some):
        (place / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        (place / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
        (place / "notes.txt").write_text("notes")
    (some / "folder.png").mkdir()


def _links(root: Path, some: Path) -> None:
    (some / "dangling.png").symlink_to("nowhere.png")
    (some / "outside.png").symlink_to(root.parent / "net.py")
    (some / "loop.png").symlink_to("loop.png")


def _linked_class(root: Path, _some: Path) -> None:
    (root / "again").symlink_to(root, target_is_directory=True)


def _pipe(_root: Path, some: Path) -> None:
    os.mkfifo(some / "pipe.png")


def _odd_names(_root: Path, some: Path) -> None:
    for path, name in zip(
        sorted(some.glob("*.png")), ("new\nline.png", "x" * 240 + ".png", "\x1b[2J.png"), strict=False
    ):
        path.rename(some / name)


CHANGES = (_nested, _nested, _no_images, _other_files, _links, _linked_class, _pipe, _odd_names)


def odd_listings(draws: Generator, folder: Path, number: int) -> Case:
    """Images with a labels.csv as people and spreadsheets write it."""
    root = folder / "photos"
    (root / "sub").mkdir(parents=True)
    files = [f"{place}.png" for place in range(12)] + [f"sub/{place}.png" for place in range(4)]
    for name in files:
        (root / name).write_bytes(usual(draws))
    (folder / "outside.png").write_bytes(usual(draws))
    rows = [[name, str(place % pick(draws, (2, 10)))] for place, name in enumerate(files)]
    if draws.random() < 0.7:
        rows[int(draws.integers(len(rows)))] = pick(draws, ROWS)
    if draws.random() < 0.15:
        what = pick(draws, list(PICTURES))
        (root / "0.png").write_bytes(PICTURES[what](draws))
    header = ["file", "label"] if draws.random() < 0.6 else pick(draws, HEADERS)
    comma, end = pick(draws, (",", ",", ",", ",", ", ", ";", "\t")), pick(draws, ("\n", "\n", "\r\n", "\r", "\n\n"))
    text = end.join(comma.join(row) for row in ([header, *rows] if header else rows))
    coding = pick(draws, ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-32"))
    content = text.encode(coding, "replace") + pick(draws, (b"", b"\n", b"\x1a", b"\n\0\0", b"\n,\n,,,\n", b'\n"'))
    how = "whole"
    if draws.random() < 0.1:
        content, how = damaged(draws, content)
    name = pick(draws, ("labels.csv",) * 6 + ("Labels.csv", "labels.txt"))
    (root / name).write_bytes(content)
    return data_case(draws, folder, f"listing {number} {name} {header} {coding} {comma!r} {end!r} {how}", "photos")


ROWS: tuple[list[str], ...] = (
    ["missing.png", "1"],
    ["../outside.png", "1"],
    ["sub/../0.png", "1"],
    ["./0.png", "1"],
    ["sub\\0.png", "1"],
    ["/etc/hostname", "1"],
    ["C:\\photos\\0.png", "1"],
    ["sub", "1"],
    [".", "1"],
    ["", "1"],
    ["0.png"],
    ["0.png", "1", "extra"],
    ["0.png", ""],
    ["0.png", "-1"],
    ["0.png", "1.0"],
    ["0.png", "cat"],
    ["0.png", "1e3"],
    ["0.png", "999999999999999999999"],
    ["0.png", "\u0663"],
    ["0.png", " 1 "],
    ["0.png", '"1"'],
    ['"0.png"', "1"],
    ['"0.png', "1"],
    ["x" * 10_000, "1"],
    ["0.png", "1" * 10_000],
    ['"' + "x" * 140_000 + '"', "1"],
    ["#0.png", "1"],
    ["0.PNG", "1"],
    ["labels.csv", "1"],
    ["\u732b.png", "1"],
    ["0.png\0", "1"],
    ["=1+1", "1"],
    [],
)

HEADERS: tuple[list[str], ...] = (
    ["label", "file"],
    ["file", "imagenet_index"],
    ["file", "label", "imagenet_index"],
    ["file", "label", "label"],
    ["File", "Label"],
    ["filename", "label"],
    ["file", "class"],
    ["", "file", "label"],
    ['"file"', '"label"'],
    ["file"],
    ["label"],
    [],
    ["x" * 10_000, "label"],
    ["file label"],
)
