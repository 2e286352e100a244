"""Whatever goes wrong while writing, what was stored before stays; whatever is wrong in a folder is said."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import store
from experiments.store import StoreError

HASH = "0123456789ab"
MANIFEST = {"hash": HASH, "status": "running"}


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones included, with its content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refuse(code):
    """Return a function that fails as the system does."""

    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return fail


def test_a_file_is_created_and_replaced(tmp_path):
    path = tmp_path / "file"
    store.write_text(path, "old")
    store.write_text(path, "new ü")
    assert files(tmp_path) == {"file": "new ü".encode()}


def test_new_files_are_as_readable_as_any_other(tmp_path):
    (tmp_path / "plain").write_text("")
    store.write_text(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("where", ["open", "write", "fsync", "rename"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, code, where):
    path = tmp_path / "file"
    store.write_text(path, "old")

    def write(file):
        file.write(b"half of the new con")
        if where == "write":
            refuse(code)()

    if where == "open":
        monkeypatch.setattr(store.tempfile, "NamedTemporaryFile", refuse(code))
    elif where != "write":
        monkeypatch.setattr(store.os, {"fsync": "fsync", "rename": "replace"}[where], refuse(code))
    with pytest.raises(StoreError) as caught:
        store.write_atomic(path, write)
    monkeypatch.undo()
    assert files(tmp_path) == {"file": b"old"}
    assert (
        str(caught.value) == f"cannot write {path}: {os.strerror(code)}; what was stored before is untouched"
    )


def test_a_really_full_disk_leaves_the_old_file(tmp_path):
    # A limit on the size of files makes the system itself refuse, in the middle of the write.
    path = tmp_path / "arrays.npz"
    store.write_arrays(path, {"x": np.arange(3)})
    before = files(tmp_path)
    code = f"""
import resource
import numpy as np
from pathlib import Path
from experiments import store
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    store.write_arrays(Path({str(path)!r}), {{"x": np.zeros(100_000)}})
except store.StoreError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith(f"cannot write {path}: File too large")
    assert len(done.stdout.splitlines()) == 1
    assert files(tmp_path) == before


def test_a_write_below_a_file_fails_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StoreError, match=r"cannot create the run folder .*Not a directory; nothing was written"
    ):
        store.create(tmp_path / "file", "name", HASH, "", MANIFEST)
    with pytest.raises(StoreError, match=r"cannot write .*Not a directory"):
        store.write_text(tmp_path / "file" / "x", "")


def test_a_run_folder_holds_its_spec_and_manifest(tmp_path):
    path = store.create(tmp_path / "deep" / "runs", "name", HASH, "spec = 1", MANIFEST)
    assert (
        path
        == tmp_path / "deep" / "runs" / "name" / HASH
        == store.run_folder(tmp_path / "deep" / "runs", "name", HASH)
    )
    assert set(files(path)) == {"spec.toml", "manifest.json"}
    assert store.read_manifest(path)["hash"] == HASH


@pytest.mark.parametrize("where", ["mkdtemp", "fsync", "rename"])
def test_a_run_folder_is_created_whole_or_not_at_all(tmp_path, monkeypatch, where):
    if where == "mkdtemp":
        monkeypatch.setattr(store.tempfile, "mkdtemp", refuse(errno.EROFS))
    else:
        monkeypatch.setattr(store.os, where, refuse(errno.ENOSPC))
    with pytest.raises(StoreError, match="cannot create the run folder") as caught:
        store.create(tmp_path / "runs", "name", HASH, "", MANIFEST)
    monkeypatch.undo()
    assert os.strerror(errno.EROFS if where == "mkdtemp" else errno.ENOSPC) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_creation_leaves_the_other_runs(tmp_path, monkeypatch):
    store.create(tmp_path, "name", HASH, "", MANIFEST)
    before = files(tmp_path)
    monkeypatch.setattr(store.os, "fsync", refuse(errno.ENOSPC))
    with pytest.raises(StoreError):
        store.create(tmp_path, "name", "ba9876543210", "", MANIFEST)
    assert files(tmp_path) == before
    assert [p.name for p in (tmp_path / "name").iterdir()] == [HASH]


def test_a_run_folder_is_never_overwritten(tmp_path):
    path = store.create(tmp_path, "name", HASH, "first", MANIFEST)
    with pytest.raises(StoreError):
        store.create(tmp_path, "name", HASH, "second", MANIFEST)
    assert (path / "spec.toml").read_text() == "first"


def test_a_damaged_archive_is_told_from_a_good_one(tmp_path):
    path = tmp_path / "arrays.npz"
    store.write_arrays(path, {"x": np.arange(100), "y": np.ones((2, 3), np.float32)})
    good = path.read_bytes()
    read = store.read_arrays(path)
    assert read["x"].tolist() == list(range(100))
    assert read["y"].dtype == np.float32
    for length in (0, 1, 100, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:length])
        with pytest.raises(StoreError, match=r"arrays.npz is damaged"):
            store.read_arrays(path)
    flipped = bytearray(good)
    flipped[good.index(np.arange(100).tobytes()) + 7] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(StoreError, match=r"arrays.npz is damaged"):
        store.read_arrays(path)
    path.unlink()
    with pytest.raises(StoreError, match=r"arrays.npz does not exist"):
        store.read_arrays(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("manifest.json", None, "is not a complete run folder: manifest.json is missing"),
        ("spec.toml", None, "is not a complete run folder: spec.toml is missing"),
        ("manifest.json", "{", "manifest.json is damaged"),
        ("manifest.json", "[]", "manifest.json is damaged"),
        ("manifest.json", "{}", "manifest.json is damaged"),
        ("manifest.json", "\x00", "manifest.json is damaged"),
    ],
)
def test_an_incomplete_folder_is_refused(tmp_path, name, content, message):
    path = store.create(tmp_path, "name", HASH, "", MANIFEST)
    (path / name).unlink() if content is None else (path / name).write_text(content)
    with pytest.raises(StoreError, match=message):
        store.read_manifest(path)


def test_only_one_process_writes_and_a_dead_one_lets_go(tmp_path):
    path = store.create(tmp_path, "name", HASH, "", MANIFEST)
    code = f"""
from pathlib import Path
from experiments import store
with store.lock(Path({str(path)!r})):
    print("locked", flush=True)
    input()
"""
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "locked\n"
        assert store.is_locked(path)
        assert store.read_manifest(path)["status"] == "running"
        with pytest.raises(StoreError, match="is being written by another process"), store.lock(path):
            pass
    finally:
        other.kill()
        other.communicate(timeout=30)
    assert not store.is_locked(path)
    assert store.read_manifest(path)["status"] == "interrupted"
    with store.lock(path):
        assert store.is_locked(path)


def test_runs_are_found_by_path_name_hash_and_its_beginning(tmp_path, monkeypatch):
    a = store.create(tmp_path, "alpha", "aaaa00000000", "", MANIFEST)
    b = store.create(tmp_path, "alpha", "aabb00000000", "", MANIFEST)
    c = store.create(tmp_path, "beta", "cccc00000000", "", MANIFEST)
    assert store.all_runs(tmp_path) == [a, b, c]
    assert store.find(tmp_path, str(c)) == [c]
    assert store.find(tmp_path, str(c.parent)) == [c]
    assert store.find(tmp_path, "alpha") == [a, b]
    assert store.find(tmp_path, "cccc00000000") == [c]
    assert store.find(tmp_path, "c") == [c]
    assert store.find(tmp_path, "alpha/aab") == [b]
    assert store.find_one(tmp_path, "beta") == c
    monkeypatch.chdir(tmp_path)
    assert [p.resolve() for p in store.find(tmp_path, "beta")] == [c]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aa", "'aa' is the beginning of several runs: alpha/aaaa00000000, alpha/aabb00000000"),
        ("alpa", "unknown run 'alpa'; did you mean 'alpha'"),
        ("beta/a", "unknown run 'beta/a'"),
        ("", "unknown run ''"),
    ],
)
def test_what_is_no_run_is_said(tmp_path, text, message):
    for hash in ("aaaa00000000", "aabb00000000"):
        store.create(tmp_path, "alpha", hash, "", MANIFEST)
    store.create(tmp_path, "beta", "cccc00000000", "", MANIFEST)
    with pytest.raises(StoreError) as caught:
        store.find(tmp_path, text)
    assert message in str(caught.value)


def test_one_run_is_not_chosen_among_several(tmp_path):
    for hash in ("aaaa00000000", "aabb00000000"):
        store.create(tmp_path, "alpha", hash, "", MANIFEST)
    with pytest.raises(StoreError, match="'alpha' names 2 runs; choose one by its hash: aaaa00000000, aabb0"):
        store.find_one(tmp_path, "alpha")


def test_a_folder_that_is_no_run_and_an_empty_store_are_said(tmp_path):
    with pytest.raises(StoreError, match="holds no runs yet"):
        store.find(tmp_path, "nothing")
    with pytest.raises(StoreError, match="is not a run folder"):
        store.find(tmp_path, str(tmp_path))


def make_run(root, name, hash, status, age):
    path = root / name / hash
    path.mkdir(parents=True)
    (path / "spec.toml").write_text("")
    (path / "manifest.json").write_text(json.dumps({"status": status, "hash": hash}))
    os.utime(path / "spec.toml", (age, age))
    return path


def test_of_several_runs_the_newest_that_serves_is_meant(tmp_path):
    old = make_run(tmp_path, "twin", "a" * 12, "finished", 100)
    new = make_run(tmp_path, "twin", "b" * 12, "finished", 200)
    open_ = make_run(tmp_path, "twin", "c" * 12, "interrupted", 300)
    assert store.find_newest(tmp_path, "twin", ("finished",)) == new
    assert store.find_newest(tmp_path, "twin", ("nothing",)) == open_
    assert store.find_one(tmp_path, "twin", ("interrupted",)) == open_
    with pytest.raises(StoreError, match="names 2 runs"):
        store.find_one(tmp_path, "twin", ("finished",))
    assert store.find_one(tmp_path, "twin", ("nothing",)) == open_
    assert store.find_one(tmp_path, "a" * 12) == old


@pytest.mark.parametrize("wrong", [{"status": 3}, {"steps": "many"}, {"run_seconds": None}, {"sessions": {}}])
def test_a_manifest_with_a_field_of_another_type_is_damaged(tmp_path, wrong):
    path = make_run(tmp_path, "odd", HASH, "finished", 100)
    (path / "manifest.json").write_text(json.dumps({"status": "finished", "hash": HASH} | wrong))
    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        store.read_manifest(path)


def test_a_damaged_run_does_not_hide_the_others(tmp_path):
    good = make_run(tmp_path, "mixed", "a" * 12, "finished", 100)
    torn = make_run(tmp_path, "mixed", "b" * 12, "finished", 200)
    (torn / "manifest.json").write_text("{")
    bare = make_run(tmp_path, "mixed", "c" * 12, "finished", 300)
    (bare / "spec.toml").unlink()
    assert set(store.all_runs(tmp_path)) == {good, torn, bare}
    assert [store.status(p) for p in (good, torn, bare)] == ["finished", "damaged", "damaged"]
    assert store.find_newest(tmp_path, "mixed", ("finished",)) == good
