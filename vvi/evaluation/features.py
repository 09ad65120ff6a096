"""Features in files, written here or made elsewhere.

A file holds one row of numbers for each tracklet, as `.npz`, `.safetensors`, `.npy` or
a file of torch. A table of the same name with the end `.csv` says of each row who it
is: columns `name`, `identity`, `camera`, `modality`, or `side` (query, gallery). A
column `row` says which row a line is of, in whatever order the lines stand. What the
table does not say may stand as arrays in the file itself.
"""

from __future__ import annotations

import io
import json
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_tensors

from vvi import metrics
from vvi.evaluation import row_table
from vvi.evaluation.row_table import NAMES, UNSAID, FeaturesError
from vvi.runtime import atomic, tensors, validation

ENDS = (".npz", ".safetensors", ".npy", ".pt", ".pth")
#: Types of arrays that are no features, by the letter that NumPy gives them.
TYPES = {"b": "bool", "c": "complex", "U": "text", "S": "text (bytes)"}
SIDES = ("query", "gallery")
#: What features of a video say of it: digests of the file and of what finds people in
#: it, and the least height of a box. The tracks of equal ones are the same.
VIDEO = ("video", "detector", "height")
#: First bytes of files that NumPy writes: arrays, and archives of them.
NUMPY = (b"\x93NUMPY", b"PK")
#: What else readers raise for a file that they cannot read.
READING = (
    SafetensorError,
    ValueError,
    OSError,
    EOFError,
    KeyError,
    TypeError,
    RuntimeError,
)
#: What NumPy raises for an archive that is cut off or has other bytes than it had. The
#: last is how zipfile refuses a compression that it does not know.
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError)


@dataclass(frozen=True)
class Features:
    """Numbers and, row by row, what is known of them."""

    #: (N, D) float32.
    values: np.ndarray
    #: N rows of text: name, identity, camera, modality, ..., empty where unknown.
    table: pd.DataFrame
    #: What made them: `source`, the folder of the pictures, `weights`, the network, and
    #: of a video `VIDEO`.
    about: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        values = self.values
        if hasattr(values, "detach"):
            values = values.detach().float().cpu()
        values = np.asarray(values, np.float32)
        if values.ndim != 2:
            raise FeaturesError(f"features are rows (N, D), not {values.shape}")
        if len(values) != len(self.table):
            raise FeaturesError(
                f"{len(values)} rows of features and a table of {len(self.table)}: "
                "give a line for each row"
            )
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        return len(self.values)

    def column(self, name: str) -> np.ndarray:
        """Return a column of the table as text, empty text where there is none."""
        if name not in self.table:
            return np.full(len(self), UNSAID, dtype=object)
        cells = self.table[name]
        texts = cells.astype(str).where(cells.notna(), UNSAID)
        return texts.to_numpy(dtype=object)

    def labels(self, name: str) -> np.ndarray:
        """Return a column for comparison: 1, 01 and 1.0 are written alike."""
        texts = [row_table.plain(text) for text in self.column(name)]
        return np.array(texts, dtype=object)

    def part(self, rows: np.ndarray) -> Features:
        """Return some of the rows."""
        table = self.table.iloc[np.flatnonzero(rows)].reset_index(drop=True)
        return Features(self.values[rows], table, self.about)


def save(features: Features, path: str | Path) -> Path:
    """Write features, and their table beside them under the same name with `.csv`.

    Args:
        features: what is written.
        path: a name that ends in .npz or .safetensors.

    Raises:
        ValueError: the name ends otherwise, or a table of something else is in the way.
    """
    path = validation.at_home(path)
    values = np.ascontiguousarray(features.values, np.float32)
    about = dict(features.about)
    if path.suffix == ".npz":
        buffer = io.BytesIO()
        np.savez(buffer, features=values, about=np.array(json.dumps(about)))
        content = buffer.getvalue()
    elif path.suffix == ".safetensors":
        content = save_tensors({"features": values}, about)
    else:
        raise ValueError(f"{path}: its name must end in .npz or .safetensors")
    refuse_foreign(path.with_suffix(".csv"), "row,")
    table = row_table.content(features.table, index_label="row")
    files = {path.with_suffix(".csv").name: table, path.name: content}
    with atomic.exclusive_lock(path):  # also removes what a killed export left
        atomic.write_all(path.absolute().parent, files)
    return path


def keep_filled(features: Features, path: str | Path) -> Features:
    """Take over what was filled in in a table that `save` is about to replace.

    Rows are known by their name and number of frames, where the folder or the video is
    the same. An identity that was filled in stays, a camera where there is none now,
    and so do columns that were added.

    Args:
        features: what was embedded again.
        path: where it will be saved.

    Raises:
        ValueError: the table is of something else, or a row that was filled in is
            not among these features.
    """
    path = validation.at_home(path)
    file = path.with_suffix(".csv")
    if not file.is_file():
        return features
    refuse_foreign(file, "row,")
    old = row_table.read(file)
    table = features.table.reset_index(drop=True)
    if "camera" not in table:
        table["camera"] = UNSAID
    is_same = _is_of_source(path, features)
    rows = _rows_of_same(table, old) if is_same else {}
    _refuse_other_cameras(file, old, table)
    added = [name for name in old.columns if name not in table and name != "row"]
    for name in added:
        table[name] = UNSAID
    for number, line in enumerate(old.to_dict("records")):
        row = rows.get(number)
        if row is not None:
            cells = _preserved_cells(line, added, table.loc[row, "camera"])
            for name, text in cells.items():
                table.loc[row, name] = text
        elif _is_filled_by_hand(line):
            name = line.get("name", f"row {number}")
            raise ValueError(
                f"{file}: {name} is filled in, and is not among what is embedded now: "
                "move the table or choose another --out"
            )
    if not is_same:
        warnings.warn(f"{path} held features of other pictures: replaced", stacklevel=2)
    return Features(features.values, table, features.about)


def _refuse_other_cameras(file: Path, old: pd.DataFrame, new: pd.DataFrame) -> None:
    """Refuse one camera for all rows where several were filled in by hand.

    Args:
        file: the table that would be replaced.
        old: what it holds.
        new: what would stand there.
    """
    filled = set(old["camera"]) - {UNSAID} if "camera" in old else set()
    given = set(new["camera"]) - {UNSAID}
    if len(filled) > 1 and len(given) == 1:
        raise ValueError(
            f"{file}: the column camera is filled in ({', '.join(sorted(filled))}): "
            "leave --camera out, move the table or choose another --out"
        )


def _preserved_cells(
    line: Mapping[str, str], added: Sequence[str], camera: str
) -> dict[str, str]:
    """Return the cells of a line that outlive embedding again.

    Args:
        line: of the old table.
        added: columns that embedding does not write.
        camera: what embedding again says of it, empty where nothing.
    """
    cells = {name: line[name] for name in added}
    if line.get("identity") and _is_filled_by_hand(line):
        cells["identity"] = line["identity"]
    if line.get("camera") and not camera:
        cells["camera"] = line["camera"]
    return cells


def _is_of_source(path: Path, features: Features) -> bool:
    """Return whether a file of features, if readable, is of the same pictures."""
    new = features.about
    try:
        _, about = _arrays(path)
    except (FeaturesError, OSError):
        return "video" not in new  # the names of crops decide then
    if "video" in about or "video" in new:
        return all(about.get(name) == new.get(name) for name in VIDEO)
    sources = about.get("source"), new.get("source")
    if None in sources:
        return sources[0] == sources[1]
    return os.path.realpath(sources[0]) == os.path.realpath(sources[1])


def _rows_of_same(table: pd.DataFrame, old: pd.DataFrame) -> dict[int, int]:
    """Map rows of an old table to those of the new one that have their pictures."""
    keys = [name for name in ("name", "frames") if name in table and name in old]
    if "name" not in keys:
        return {}
    new = table[keys].astype(str).itertuples(index=False, name=None)
    row_of_key = {key: row for row, key in enumerate(new)}
    before = old[keys].itertuples(index=False, name=None)
    return {row: row_of_key[k] for row, k in enumerate(before) if k in row_of_key}


def _is_filled_by_hand(line: Mapping[str, str]) -> bool:
    """Return whether a row says more of who it is than its folder's name does."""
    folder = line.get("name", "").partition("/")[0]
    identity = line.get("identity", UNSAID)
    return identity not in (UNSAID, folder) or line.get("side", UNSAID) != UNSAID


def refuse_foreign(file: Path, head: str) -> None:
    """Refuse to write over a table that is none of ours.

    A spreadsheet may have saved it, with other marks between its cells or its columns
    in another order.

    Args:
        file: a table, if it is there.
        head: the names of its first columns, each with a comma behind it.

    Raises:
        ValueError: the table has other columns, or is no table.
    """
    if not file.exists():
        return
    first, columns = head.rstrip(",").split(","), row_table.columns_of(file)
    is_moved = {*first, "name"} <= set(columns)
    if columns[: len(first)] != first and not is_moved:
        raise ValueError(
            f"{file} is there and holds something else: choose another name"
        )


def load(path: str | Path) -> Features:
    """Read features that `save` wrote, or that something else did.

    Args:
        path: `.npz`, `.safetensors`, `.npy` or a file of torch. An array `features`
            (or the only one of two dimensions) holds the rows. `query` and `gallery`,
            with `query_ids` and the like, hold both sides in one file. The rows of
            its table are those of `query`, then those of `gallery`.

    Raises:
        FileNotFoundError: there is no such file.
        FeaturesError: it holds no features, or its table has other rows.
    """
    path = validation.at_home(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of features {path}")
    arrays, about = _arrays(path)
    if all(side in arrays for side in SIDES):
        features = _both_sides(path, arrays, about)
    else:
        name, values = _main_array(path, arrays)
        features = Features(values, _table(path, len(values), arrays, name), about)
    _refuse_no_directions(path, features.values)
    return features


def _refuse_no_directions(path: Path, values: np.ndarray) -> None:
    """Refuse rows that cannot be compared by their cosine."""
    finite = np.isfinite(values).all(1)
    if not finite.all():
        rows = some_rows(np.flatnonzero(~finite))
        raise FeaturesError(
            f"{path}: NaN or infinity in row(s) {rows}; what is beyond float32 counts "
            "as infinity"
        )
    if len(values) and not values.shape[1]:
        raise FeaturesError(f"{path}: its rows hold no numbers, {values.shape}")
    zero = ~values.any(1)
    if zero.any():
        rows = some_rows(np.flatnonzero(zero))
        raise FeaturesError(
            f"{path}: row(s) {rows} hold zeros only, which are like nothing: leave "
            "them out or embed them again"
        )


def of_sides(
    sides: Mapping[str, Any], root: Path, network: Mapping[str, str] | None = None
) -> Features:
    """Collect the features of an evaluation: each tracklet once, with who it is.

    A column for each direction says which rows are its `query` and its `gallery`. A
    row may be in neither. With one direction the column is called `side`.

    Args:
        sides: direction -> `vvi.evaluation.evaluate.Side`.
        root: the folder of the data set.
        network: what made them, as `Trained.about` says.
    """
    rows: dict[Any, np.ndarray] = {}
    roles: dict[str, dict[Any, str]] = {}
    for direction, side in sides.items():
        column = direction if len(sides) > 1 else "side"
        gallery = dict.fromkeys(side.gallery, SIDES[1])
        roles[column] = gallery | dict.fromkeys(side.query, SIDES[0])
        rows |= dict(zip(side.query, side.query_feat, strict=True))
        rows |= dict(zip(side.gallery, side.gallery_feat, strict=True))
    table = []
    for tracklet in rows:
        middle = tracklet.paths[len(tracklet) // 2]
        file = middle.relative_to(root).as_posix()
        row = {"name": file, "identity": str(tracklet.identity)}
        row |= {"camera": str(tracklet.camera), "modality": tracklet.modality}
        row |= {"frames": len(tracklet), "file": file}
        for column, role in roles.items():
            row[column] = role.get(tracklet, UNSAID)
        table.append(row)
    values = np.stack(list(rows.values()))
    rules = {side.rule for side in sides.values()}
    about = {"source": str(root.resolve()), "rule": ", ".join(rules)}
    return Features(values, pd.DataFrame(table), about | dict(network or {}))


def _arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read the arrays of a file by name, and what it says of itself."""
    end = path.suffix.lower()
    if end not in ENDS:
        raise FeaturesError(f"{path}: features end in {', '.join(ENDS)}")
    about = {"file": str(path)}
    try:
        if end in (".npy", ".npz"):
            arrays = _numpy_arrays(path)
            if "about" in arrays:
                about |= _about(path, str(arrays.pop("about")))
            return arrays, about
        if end == ".safetensors":
            with safe_open(path, "pt") as file:
                about |= file.metadata() or {}
                names = list(file.keys())
                return {k: _of_numpy(file.get_tensor(k)) for k in names}, about
        content = tensors.read(path, alone="features")
        arrays = {k: _of_numpy(v) for k, v in content.items() if _is_array(v)}
    except FeaturesError:
        raise
    except DAMAGE as error:
        raise FeaturesError(
            f"{path} is damaged or cut off: copy or export it again"
        ) from error
    except READING as error:
        why = _why_unreadable(path, error)
        raise FeaturesError(
            f"{path} holds no features that can be read: {why}"
        ) from error
    return arrays, about


def _of_numpy(value: Any) -> np.ndarray:
    """Return an array, or a tensor of whatever precision, as an array."""
    if not hasattr(value, "detach"):
        return np.asarray(value)
    value = value.detach()
    if value.is_floating_point() and value.dtype.itemsize < 4:
        value = value.float()  # NumPy knows no bfloat16
    return value.numpy()


def _numpy_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a file of NumPy, an array or an archive of them, whatever its name says."""
    content = np.load(path, allow_pickle=False)
    if isinstance(content, np.ndarray):
        return {"features": content}
    with content as file:
        return {name: file[name] for name in file.files}


def _about(path: Path, text: str) -> dict[str, str]:
    """Read what a file says of itself.

    Raises:
        FeaturesError: it is no JSON object.
    """
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise FeaturesError(f"{path}: its array `about` is no JSON object {{...}}")
    return {name: str(value) for name, value in content.items() if value is not None}


def _why_unreadable(path: Path, error: Exception) -> str:
    """Return in one line why a file cannot be read, without advice that is unsafe."""
    head = path.read_bytes()[:12]
    if not head:
        return "it is empty"
    if path.suffix.lower() in (".npy", ".npz") and not head.startswith(NUMPY):
        return f"it is no file of NumPy, it begins with {head!r}"
    why = " ".join(str(error).split())[:200]
    if why.startswith("Object arrays"):
        return "it holds an array of Python objects: save numbers or text, astype(str)"
    return why or "it is damaged or cut off, copy or export it again"


def _is_array(value: Any) -> bool:
    return bool(np.ndim(value)) or hasattr(value, "shape")


def _main_array(path: Path, arrays: Mapping[str, np.ndarray]) -> tuple[str, np.ndarray]:
    named = [name for name in arrays if name.lower() in NAMES["features"]]
    wide = [name for name, values in arrays.items() if np.ndim(values) == 2]
    candidates = named or wide
    name = candidates[0] if named or len(wide) == 1 else None
    if name is None or np.ndim(arrays[name]) != 2:
        shapes = ", ".join(f"{k} {np.shape(v)}" for k, v in arrays.items()) or "nothing"
        raise FeaturesError(
            f"{path} holds no array `features` of rows (N, D), nor one that is alone "
            f"in having two dimensions; it holds {shapes}"
        )
    kind = arrays[name].dtype
    if kind.kind not in "fiu":
        raise FeaturesError(
            f"{path}: its array {name} is of type {TYPES.get(kind.kind, kind)}; "
            "features are real numbers"
        )
    with np.errstate(over="ignore"):  # infinity is refused with the name of its row
        return name, np.asarray(arrays[name], np.float32)


def _table(
    path: Path, count: int, arrays: Mapping[str, np.ndarray], main: str
) -> pd.DataFrame:
    """Read the table beside a file, else what its arrays say of the rows.

    Args:
        path: of the file.
        count: its rows.
        arrays: of the file.
        main: name of the features among them.
    """
    file = path.with_suffix(".csv")
    table = pd.DataFrame(index=range(count))
    if file.is_file():
        table = row_table.aligned(row_table.read(file), count, file, path.name)
    return _with_arrays(path, table, arrays, main)


def _with_arrays(
    path: Path, table: pd.DataFrame, arrays: Mapping[str, np.ndarray], main: str
) -> pd.DataFrame:
    """Add what arrays say of the rows, where the table does not say it.

    Args:
        path: of the file, for messages.
        table: a row for each row of the features.
        arrays: of the file.
        main: name of the features among them.
    """
    count = len(table)
    for column, names in NAMES.items():
        own = [k for k in arrays if k.lower() in names and k != main]
        if own and column not in table:
            values = np.asarray(arrays[own[0]]).ravel()
            if len(values) != count:
                raise FeaturesError(f"{path}: {len(values)} {own[0]} for {count} rows")
            if not metrics.is_exact(values):
                raise FeaturesError(
                    f"{path}: {own[0]} of type {values.dtype} are too large to be told "
                    "apart: save them as integers or text"
                )
            table[column] = [_text(value) for value in values]
    return table.reset_index(drop=True)


def _both_sides(path: Path, arrays: Mapping[str, np.ndarray], about: dict) -> Features:
    """Read query, gallery, query_ids, gallery_cams, ... as one table with sides."""
    values, tables = [], []
    for side in SIDES:
        prefix = f"{side}_"
        own = {
            k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)
        }
        _, rows = _main_array(path, {"features": arrays[side]})
        table = _with_arrays(path, pd.DataFrame(index=range(len(rows))), own, "")
        values.append(rows)
        tables.append(table.assign(side=side))
    if values[0].shape[1] != values[1].shape[1]:
        widths = values[0].shape[1], values[1].shape[1]
        raise FeaturesError(
            f"{path}: query rows have {widths[0]} numbers, gallery {widths[1]}"
        )
    table = pd.concat(tables, ignore_index=True).fillna(UNSAID)
    table = _with_lines_beside(path, table)
    return Features(np.concatenate(values), table, about)


def _with_lines_beside(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Put what the table beside a file says of both sides before what arrays say.

    Args:
        path: of the file of features.
        table: what its arrays say of the rows, queries first.

    Raises:
        FeaturesError: the table has other rows, or a row of it is of the other side.
    """
    file = path.with_suffix(".csv")
    if not file.is_file():
        return table
    beside = row_table.aligned(row_table.read(file), len(table), file, path.name)
    sides = beside.get("side", table["side"])
    others = np.flatnonzero((sides != UNSAID) & (sides != table["side"]))
    if len(others):
        row = int(others[0])
        raise FeaturesError(
            f"{file}: its column side says {sides[row]!r} in row {row}, which is of "
            f"{table['side'][row]} in {path.name}: sort it, queries first"
        )
    for name in beside.columns.drop("side", errors="ignore"):
        table[name] = beside[name]
    return table


def _text(value: Any) -> str:
    """Return a value as text, no text for NaN and infinity."""
    value = value.decode() if isinstance(value, bytes) else value
    if not isinstance(value, float | np.floating):
        return str(value)
    if not np.isfinite(value):
        return UNSAID
    return str(int(value)) if value == int(value) else str(value)


def some_rows(rows: np.ndarray) -> str:
    """Name the first few rows of many."""
    return tensors.some([int(row) for row in rows])
