"""Every source of data gives the same small images, pixel for pixel; what is missing or damaged is said in one line."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import ressearch
from ressearch.cli import main
from ressearch.data import Lazy, Options, Resident, find, from_arrays, load_dataset, registry, split, training_batches
from ressearch.data import files as published
from ressearch.data.paths import whole
from ressearch.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (24, 28, 28), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(24) % 3
NAMES = np.array(["cat", "dog", "owl"])
IDX = {
    "train-images-idx3-ubyte.gz": GREY[:18],
    "train-labels-idx1-ubyte.gz": LABELS[:18],
    "t10k-images-idx3-ubyte.gz": GREY[18:],
    "t10k-labels-idx1-ubyte.gz": LABELS[18:],
}


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def idx(values: np.ndarray) -> bytes:
    header = b"\0\0\x08" + bytes([values.ndim]) + b"".join(side.to_bytes(4, "big") for side in values.shape)
    return gzip.compress(header + values.astype(np.uint8).tobytes())


def write_idx(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, values in IDX.items():
        (directory / name).write_bytes(idx(values))
    return directory


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def write_cifar(path: Path, label: str = "labels", labels: np.ndarray = LABELS) -> Path:
    rows = COLOUR.transpose(0, 3, 1, 2).reshape(24, -1)
    with tarfile.open(path, "w:gz") as tar:
        for name, part in (
            ("data_batch_1", slice(0, 9)),
            ("data_batch_2", slice(9, 18)),
            ("test_batch", slice(18, 24)),
        ):
            if "binary" in path.name:
                lead = [labels[part, None]] * (2 if label == "fine_labels" else 1)
                add(tar, f"cifar/{name}.bin", np.hstack([*lead, rows[part]]).astype(np.uint8).tobytes())
            else:
                batch = {b"data": rows[part], label.encode(): labels[part].tolist(), b"batch_label": b"x"}
                add(tar, f"cifar/{name}", pickle.dumps(batch, protocol=2))
        add(tar, "cifar/batches.meta", b"not read")
    return path


def write_folder(root: Path, parts: bool = False) -> Path:
    for index, (pixels, label) in enumerate(zip(COLOUR, LABELS, strict=True)):
        part = ("train" if index < 18 else "test") if parts else "."
        folder = root / part / NAMES[label]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index:03}.png").write_bytes(png(pixels))
    return root


def by_label(images: np.ndarray) -> torch.Tensor:
    """The images in the order of folders: class by class."""
    order = np.argsort(LABELS, kind="stable")
    return torch.from_numpy(images[order]).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_gzipped_idx_files(tmp_path: Path, name: str) -> None:
    data = load_dataset(name, Options(root=str(write_idx(tmp_path / name)), verify=False))
    assert torch.equal(whole(data.inputs)[:, 0], torch.from_numpy(GREY))
    assert data.labels.tolist() == LABELS.tolist()
    assert data.test_from == 18
    assert "18 training and 6 test images of 28x28" in data.source


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "cifar-10-binary.tar.gz", "cifar-100-python.tar.gz"])
def test_cifar_archives(tmp_path: Path, name: str) -> None:
    kind = name.split("-python")[0].split("-binary")[0].replace("-", "")
    path = write_cifar(tmp_path / name, "labels" if kind == "cifar10" else "fine_labels")
    with pytest.raises(DataError, match=r"its MD5 is .*, the published file's .*: damaged, or not the published file"):
        load_dataset(kind, Options(root=str(tmp_path)))
    if kind == "cifar10":
        found = published.read_cifar(path, "labels")
        assert len(found["test"][1]) == 6
        images = np.concatenate([found["train"][0], found["test"][0]]).reshape(-1, 3, 32, 32)
        assert (images == COLOUR.transpose(0, 3, 1, 2)).all()
        assert np.concatenate([found["train"][1], found["test"][1]]).tolist() == LABELS.tolist()
    else:
        data = load_dataset(kind, Options(root=str(tmp_path), verify=False))
        assert torch.equal(whole(data.inputs), torch.from_numpy(COLOUR).permute(0, 3, 1, 2))
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(DataError, match="damaged, or no CIFAR archive"):
        published.read_cifar(path, "labels")


def test_a_cifar_archive_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        add(tar, "cifar/data_batch_1", pickle.dumps({b"data": Evil()}))
    with pytest.raises(DataError, match="refused to load pathlib"):
        published.read_cifar(tmp_path / "evil.tar.gz", "labels")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("memory", ["resident", "stream"])
def test_image_folders(tmp_path: Path, memory: str) -> None:
    data = load_dataset(f"imagefolder:{write_folder(tmp_path / 'all')}", Options(memory=memory))
    assert isinstance(data.inputs, Lazy) == (memory == "stream")
    assert torch.equal(whole(data.inputs), by_label(COLOUR))
    assert data.labels.tolist() == sorted(LABELS.tolist())
    assert data.classes == tuple(NAMES)
    parts = load_dataset(f"imagefolder:{write_folder(tmp_path / 'parts', parts=True)}", Options(memory=memory))
    assert parts.test_from == 18
    divided = split(parts, 0, 0.3)
    assert (len(divided.train), len(divided.validation), len(divided.test)) == (12, 6, 6)
    held = {tuple(image.flatten().tolist()) for image in whole(divided.test.inputs)}
    assert held == {tuple(image.flatten().tolist()) for image in COLOUR[18:].transpose(0, 3, 1, 2)}


@pytest.mark.parametrize("memory", ["resident", "stream"])
@pytest.mark.parametrize("labels", ["cls", "json"])
def test_webdataset_tars(tmp_path: Path, memory: str, labels: str) -> None:
    for shard in range(2):
        with tarfile.open(tmp_path / f"{shard:03}.tar", "w") as tar:
            for index in range(12 * shard, 12 * shard + 12):
                add(tar, f"{index:04}.png", png(COLOUR[index]))
                label = str(LABELS[index]) if labels == "cls" else json.dumps({"label": str(NAMES[LABELS[index]])})
                add(tar, f"{index:04}.{labels}", label.encode())
    data = load_dataset(f"webdataset:{tmp_path}", Options(memory=memory))
    assert torch.equal(whole(data.inputs), torch.from_numpy(COLOUR).permute(0, 3, 1, 2))
    assert data.labels.tolist() == LABELS.tolist()
    assert data.classes == (("0", "1", "2") if labels == "cls" else tuple(NAMES))


@pytest.mark.parametrize("memory", ["resident", "stream"])
@pytest.mark.parametrize("form", ["bytes", "struct"])
def test_parquet_shards_of_images(tmp_path: Path, memory: str, form: str) -> None:
    encoded: list[Any] = [png(one) for one in COLOUR]
    if form == "struct":
        encoded = [{"bytes": one, "path": None} for one in encoded]
    for shard in range(2):
        rows = slice(12 * shard, 12 * shard + 12)
        table = pd.DataFrame({"image": encoded[rows], "label": NAMES[LABELS[rows]]})
        table.to_parquet(tmp_path / f"{shard}.parquet", row_group_size=5)
    data = load_dataset(f"parquet:{tmp_path}", Options(memory=memory))
    assert torch.equal(whole(data.inputs), torch.from_numpy(COLOUR).permute(0, 3, 1, 2))
    assert data.labels.tolist() == LABELS.tolist()
    assert data.classes == tuple(NAMES)


def test_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=COLOUR, y=LABELS)
    data = load_dataset(f"npz:{tmp_path / 'a.npz'}")
    assert torch.equal(whole(data.inputs), torch.from_numpy(COLOUR).permute(0, 3, 1, 2))
    same = from_arrays(GREY, NAMES[LABELS])
    assert torch.equal(whole(same.inputs)[:, 0], torch.from_numpy(GREY))
    assert (same.classes, same.labels.tolist()) == (tuple(NAMES), LABELS.tolist())
    with pytest.raises(DataError, match="24 inputs but 23 labels"):
        from_arrays(GREY, LABELS[1:])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_of_numbers_and_texts(tmp_path: Path, suffix: str) -> None:
    table = pd.DataFrame(
        {"size": [1.0, 2.0, 3.0, 4.0], "colour": ["red", "blue", "red", "red"], "species": ["a", "b", "a", "b"]}
    )
    file = tmp_path / f"t.{suffix}"
    table.to_csv(file, index=False) if suffix == "csv" else table.to_parquet(file)
    data = load_dataset(f"{suffix}:{file}", Options(label="species"))
    assert whole(data.inputs).tolist() == [[1, 0, 1], [2, 1, 0], [3, 0, 1], [4, 0, 1]]
    assert (data.labels.tolist(), data.classes) == ([0, 1, 0, 1], ("a", "b"))
    with pytest.raises(DataError, match=r"data\.label has to name the column; there are size, colour, species"):
        load_dataset(f"{suffix}:{file}")
    with pytest.raises(DataError, match="no column 'specis'; did you mean 'species'"):
        load_dataset(f"{suffix}:{file}", Options(label="specis"))
    table.loc[2, "size"] = None
    table.to_csv(file, index=False) if suffix == "csv" else table.to_parquet(file)
    with pytest.raises(DataError, match="column 'size': row 2 has no value"):
        load_dataset(f"{suffix}:{file}", Options(label="species", root="again"))


@pytest.mark.parametrize("memory", ["resident", "stream"])
def test_hugging_face_data_sets(tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    features = datasets.Features({"img": datasets.Image(), "fine_label": datasets.ClassLabel(names=list(NAMES))})
    for name, rows in (("train", slice(0, 18)), ("test", slice(18, 24))):
        columns = {"img": [Image.fromarray(one) for one in COLOUR[rows]], "fine_label": LABELS[rows].tolist()}
        datasets.Dataset.from_dict(columns, features).to_parquet(tmp_path / f"{name}.parquet")
    data = load_dataset(f"hub:{tmp_path}", Options(memory=memory))
    assert torch.equal(whole(data.inputs), torch.from_numpy(COLOUR).permute(0, 3, 1, 2))
    assert (data.labels.tolist(), data.classes, data.test_from) == (LABELS.tolist(), tuple(NAMES), 18)


def test_odd_sizes_and_modes_are_brought_to_one_form(tmp_path: Path) -> None:
    for name in NAMES[:2]:
        (tmp_path / name).mkdir()
    Image.new("RGB", (40, 30), (200, 0, 0)).save(tmp_path / "cat" / "a.png")
    Image.new("L", (30, 60), 100).save(tmp_path / "cat" / "b.png")
    Image.new("RGBA", (20, 20), (0, 50, 0, 9)).save(tmp_path / "dog" / "c.png")
    with pytest.raises(DataError, match=r"b\.png: 30x60 pixels, but the first has 40x30; data\.size brings all to one"):
        load_dataset(f"imagefolder:{tmp_path}")
    data = load_dataset(f"imagefolder:{tmp_path}", Options(size=20))
    images = whole(data.inputs)
    assert images.shape == (3, 3, 20, 20)
    assert images[:, :, 10, 10].tolist() == [[200, 0, 0], [100, 100, 100], [0, 50, 0]]
    assert load_dataset(f"imagefolder:{tmp_path}", Options(size=20, channels=1)).input_shape == (1, 20, 20)


def damage(path: Path, kind: str) -> str:
    """Make a damaged source; returns its name."""
    match kind:
        case "corrupt image":
            write_folder(path)
            next(path.rglob("003.png")).write_bytes(b"no image")
            return f"imagefolder:{path}"
        case "one class":
            (path / "only").mkdir(parents=True)
            (path / "only" / "a.png").write_bytes(png(COLOUR[0]))
            return f"imagefolder:{path}"
        case "empty class":
            write_folder(path)
            (path / "yak").mkdir()
            return f"imagefolder:{path}"
        case "no folders":
            path.mkdir()
            return f"imagefolder:{path}"
        case "unlabelled":
            path.mkdir()
            with tarfile.open(path / "0.tar", "w") as tar:
                add(tar, "a.png", png(COLOUR[0]))
            return f"webdataset:{path}"
        case "compressed tar":
            path.mkdir()
            with tarfile.open(path / "0.tar", "w:gz") as tar:
                add(tar, "a.png", png(COLOUR[0]))
            return f"webdataset:{path}"
        case "missing label":
            path.mkdir()
            pd.DataFrame({"image": [png(COLOUR[0])] * 2, "label": ["a", None]}).to_parquet(path / "0.parquet")
            return f"parquet:{path}"
        case "cut parquet":
            path.mkdir()
            (path / "0.parquet").write_bytes(b"PAR1 cut")
            return f"parquet:{path}"
        case "cut npz":
            path.mkdir()
            np.savez(path / "a.npz", x=GREY, y=LABELS)
            (path / "a.npz").write_bytes((path / "a.npz").read_bytes()[:900])
            return f"npz:{path / 'a.npz'}"
    return f"csv:{path / 'none.csv'}"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("corrupt image", "003.png: no image that can be read"),
        ("one class", "has one class (only); expected at least two"),
        ("empty class", "no example of class yak"),
        ("no folders", "holds no folder; expected one for each class"),
        ("unlabelled", "a.png: has no label (a.cls or a.json)"),
        ("compressed tar", "no uncompressed tar that can be read"),
        ("missing label", "row 1 has no label"),
        ("cut parquet", "damaged, or no Parquet file"),
        ("cut npz", "a.npz: "),
        ("missing file", "none.csv: no such file or directory"),
    ],
)
def test_damage_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, message: str
) -> None:
    name = damage(tmp_path / "data", kind)
    with pytest.raises(DataError) as caught:
        load_dataset(name)
    assert message in str(caught.value)
    study = tmp_path / "study.yaml"
    study.write_text(f"space: {{grid: {{depth: [8, 14]}}}}\ndata: {{name: '{name}'}}\n")
    with pytest.raises(SystemExit, match="2"):
        main(["check", str(study)])
    _, error = capsys.readouterr()
    assert error.count("\n") == 1
    assert "study.yaml:2: data" in error


def test_idx_damage_and_absence(tmp_path: Path) -> None:
    root = write_idx(tmp_path / "f")
    images = root / "train-images-idx3-ubyte.gz"
    good = images.read_bytes()
    for data, message in (
        (good[:-20], "damaged"),
        (gzip.compress(gzip.decompress(good)[:-5]), "header says 14112 bytes of data, but there are only 14107"),
        (gzip.compress(b"what is this"), "no IDX file of bytes"),
        (idx(GREY[:5]), "do not go with images"),
    ):
        images.write_bytes(data)
        registry._loaded.cache_clear()
        with pytest.raises(DataError, match=message):
            load_dataset("fashion_mnist", Options(root=str(root), verify=False))
    with pytest.raises(DataError, match=r"not found in .*; `ressearch data fetch kmnist` gets it"):
        load_dataset("kmnist", Options(root=str(tmp_path / "none")))


def test_fetching_is_whole_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = write_idx(tmp_path / "there")
    sums = {name: hashlib.md5((there / name).read_bytes()).hexdigest() for name in IDX}
    monkeypatch.setitem(published.PUBLISHED, "mnist", published.Published("http://nowhere.invalid/", sums))
    root, said = tmp_path / "here", []
    published.fetch("mnist", root, there.as_uri(), said.append)
    assert sorted(file.name for file in root.iterdir()) == sorted(IDX)
    published.fetch("mnist", root, there.as_uri(), said.append)
    assert sum("there already" in line for line in said) == 4
    (there / "t10k-labels-idx1-ubyte.gz").write_bytes(b"other")
    (root / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="nothing was kept"):
        published.fetch("mnist", root, there.as_uri(), said.append)
    with pytest.raises(DataError, match="cannot be fetched"):
        published.fetch("mnist", tmp_path / "other", "http://127.0.0.1:9/", said.append)
    assert len(list(root.iterdir())) == 3


def test_names_say_what_they_need() -> None:
    for name, message in (
        ("imagefolder", "expected imagefolder:PATH"),
        ("digits:x", "takes nothing after a colon"),
        ("cifr10", "did you mean 'cifar10'"),
    ):
        with pytest.raises(DataError, match=message):
            find(name)


def test_subsets_are_nested_and_leave_the_other_parts_alone() -> None:
    data = load_dataset("digits")
    full, half, tenth = (split(data, 3, 0.2, 0.2, fraction=share) for share in (None, 0.5, 0.1))
    few = split(data, 3, 0.2, 0.2, per_class=7)
    sets = [{tuple(one.flatten().tolist()) for one in part.train.inputs} for part in (full, half, tenth)]
    assert sets[2] < sets[1] < sets[0]
    assert torch.equal(full.validation.inputs, tenth.validation.inputs)
    assert torch.equal(full.test.inputs, few.test.inputs)
    assert few.train.labels.bincount().tolist() == [7] * 10
    assert len({one.fingerprint for one in (full, half, tenth, few)}) == 4
    with pytest.raises(DataError, match="per_class 500, but class '0' has"):
        split(data, 3, 0.2, 0.2, per_class=500)


def test_streamed_batches_equal_resident_ones_and_train_alike(tmp_path: Path) -> None:
    from ressearch.training import Engine, Recipe

    folder = f"imagefolder:{write_folder(tmp_path)}"
    parts = [
        split(load_dataset(folder, Options(size=16, memory=memory)), 0, 0.2, 0.2) for memory in ("resident", "stream")
    ]
    batches = []
    for one in parts:
        data = Resident(one.train, one.mean, one.std)
        generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
        batches.append(list(training_batches(data, 4, generators, ["crop", "flip"])))
    assert len(batches[0]) == len(batches[1]) > 1
    for resident, streamed in zip(*batches, strict=True):
        assert torch.equal(resident.inputs, streamed.inputs)
        assert torch.equal(resident.labels, streamed.labels)
    tiny = ressearch.Architecture(depths=(1, 1), widths=(4, 8))
    engines = [Engine(tiny, one, 3, Recipe(epochs=1, batch_size=4)) for one in parts]
    results = [engine.train_epoch()[0].train_loss for engine in engines]
    assert results[0] == results[1]
    resident, streamed = (engine.correct for engine in engines)
    assert resident is not None
    assert streamed is not None
    assert resident.tolist() == streamed.tolist()


@pytest.mark.usefixtures("ray_started")
def test_a_streamed_study_of_a_relative_path_runs_through_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # Ray's workers have another directory
    write_folder(tmp_path / "images")
    study = ressearch.Study.from_dict(
        {
            "space": {"grid": {"depth": [8], "width": 4}},
            "data": {"name": "imagefolder:images", "memory": "stream", "size": 16},
            "recipe": {"epochs": 2, "batch_size": 4},
        }
    )
    results = ressearch.load(ressearch.run(study, tmp_path / "run"))
    assert results.trials["status"].tolist() == ["completed"]
    assert "decoded when needed" in results.run["data_source"]


def test_the_command_lists_and_describes(capsys: pytest.CaptureFixture[str]) -> None:
    main(["data", "list", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["digits"]["is_here"] is True
    assert "imagefolder:PATH" in rows
    main(["data", "info", "digits", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["parts"] == {"train": 1078, "validation": 360, "test": 359}
    assert sum(found["classes"].values()) == 1797


def write_parts(root: Path, names: tuple[str, ...], sizes: tuple[int, ...]) -> Path:
    """A folder of images in parts; each part's images are of one grey, so that they are known again."""
    for shade, (name, size) in enumerate(zip(names, sizes, strict=True)):
        for index in range(size):
            folder = root / name / NAMES[index % 3]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{index:03}.png").write_bytes(png(np.full((8, 8), 10 * shade + 10, np.uint8)))
    return root


def shades(part: Any) -> set[int]:
    return set(whole(part.inputs).flatten().tolist())


def test_published_parts_of_a_folder_stay_apart(tmp_path: Path) -> None:
    root = write_parts(tmp_path / "three", ("train", "val", "test"), (30, 9, 6))
    data = load_dataset(f"imagefolder:{root}")
    assert "published parts: 30 train, 9 validation (val/), 6 test" in data.source
    divided = split(data, seed=0)
    assert [shades(part) for part in (divided.train, divided.validation, divided.test)] == [{10}, {20}, {30}]
    own = split(data, seed=0, validation=0.2)  # a fraction of one's own divides what is not the test part
    assert shades(own.test) == {30}
    assert len(own.train) + len(own.validation) == 39
    assert shades(own.train) == {10, 20}
    two = load_dataset(f"imagefolder:{write_parts(tmp_path / 'two', ('train', 'val'), (30, 9))}")
    assert "9 test (val/)" in two.source
    assert shades(split(two, seed=0).test) == {20}
    write_parts(tmp_path / "none", ("val", "test"), (9, 9))
    with pytest.raises(DataError, match="has a test and a validation part, but no train part"):
        load_dataset(f"imagefolder:{tmp_path / 'none'}")


@pytest.mark.parametrize("form", ["images", "table", "csv", "webdataset"])
def test_shards_of_published_parts_stay_apart(tmp_path: Path, form: str) -> None:
    for name, rows in (
        ("test-00000-of-00001", slice(18, 24)),
        ("train-00000-of-00002", slice(0, 6)),
        ("train-00001-of-00002", slice(6, 18)),
    ):
        if form == "webdataset":
            with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
                for index in range(rows.start, rows.stop):
                    add(tar, f"{index}.png", png(COLOUR[index]))
                    add(tar, f"{index}.cls", str(LABELS[index]).encode())
            continue
        columns = {"image": [png(one) for one in COLOUR[rows]]} if form == "images" else {"at": np.arange(24.0)[rows]}
        table = pd.DataFrame({**columns, "label": NAMES[LABELS[rows]]})
        file = tmp_path / f"{name}.{'csv' if form == 'csv' else 'parquet'}"
        table.to_csv(file, index=False) if form == "csv" else table.to_parquet(file)
    kind = {"images": "parquet", "table": "parquet"}.get(form, form)
    data = load_dataset(f"{kind}:{tmp_path}")
    assert data.test_from == 18
    assert "published parts: 18 train, 6 test" in data.source
    divided = split(data, seed=0)
    held = whole(divided.test.inputs)
    expected = torch.from_numpy(COLOUR[18:]).permute(0, 3, 1, 2) if len(held.shape) == 4 else torch.arange(18.0, 24)
    assert torch.equal(held.squeeze(1) if held.ndim == 2 else held, expected)
    assert len(divided.train) + len(divided.validation) == 18
    other = tmp_path / ("extra" + next(tmp_path.iterdir()).suffix)
    other.write_bytes(next(tmp_path.iterdir()).read_bytes())
    with pytest.raises(DataError, match=r"extra\.\w+: belongs to no part, beside t"):
        load_dataset(f"{kind}:{tmp_path}", Options(root="again"))


@pytest.mark.parametrize("memory", ["resident", "stream"])
@pytest.mark.parametrize("form", ["imagefolder", "webdataset", "parquet"])
def test_relative_paths_are_read_from_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, memory: str
) -> None:
    write_folder(tmp_path / "here" / "imagefolder")
    (tmp_path / "here" / "webdataset").mkdir()
    with tarfile.open(tmp_path / "here" / "webdataset" / "0.tar", "w") as tar:
        for index in range(24):
            add(tar, f"{index:02}.png", png(COLOUR[index]))
            add(tar, f"{index:02}.cls", str(LABELS[index]).encode())
    (tmp_path / "here" / "parquet").mkdir()
    table = pd.DataFrame({"image": [png(one) for one in COLOUR], "label": LABELS})
    table.to_parquet(tmp_path / "here" / "parquet" / "0.parquet", row_group_size=1)
    monkeypatch.chdir(tmp_path / "here")
    data = load_dataset(f"{form}:{form}", Options(memory=memory))
    sent = pickle.loads(pickle.dumps(data.inputs))  # as Ray sends it to a worker, which has another directory
    monkeypatch.chdir(tmp_path)
    expected = by_label(COLOUR) if form == "imagefolder" else torch.from_numpy(COLOUR).permute(0, 3, 1, 2)
    assert torch.equal(whole(sent), expected)


def many_groups(directory: Path, rows: int = 200, size: int = 5) -> Path:
    pixels = RNG.integers(0, 256, (rows, 8, 8), dtype=np.uint8)
    table = pd.DataFrame({"image": [png(one) for one in pixels], "label": np.arange(rows) % 3})
    table.to_parquet(directory / "0.parquet", row_group_size=size)
    return directory


def test_shuffled_parquet_reads_each_row_group_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    data = load_dataset(f"parquet:{many_groups(tmp_path)}", Options(memory="stream"))
    straight = whole(data.inputs)
    read: list[int] = []
    group_of = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, at, **other: read.append(at) or group_of(self, at, **other)
    )
    train = split(data, 0).train
    mean, std = split(data, 0).mean, split(data, 0).std
    read.clear()
    resident = Resident(train, mean, std)
    for seed in (0, 1):
        list(training_batches(resident, 16, [torch.Generator().manual_seed(seed)]))
    assert sorted(read) == list(range(40))
    order = torch.randperm(200)
    assert torch.equal(data.inputs.load(order), straight[order])
    read.clear()
    data.inputs.throughput()
    assert not read


def test_info_measures_what_a_shuffled_epoch_reads(tmp_path: Path) -> None:
    data = load_dataset(f"parquet:{many_groups(tmp_path)}", Options(memory="stream"))
    some = data.inputs.source.sample([3, 199, 0])
    assert [some.read(at) for at in (0, 3, 199)] == [data.inputs.source.read(at) for at in (0, 3, 199)]
    assert some._copy is not None
    assert data.inputs.throughput(50) > 0


@pytest.mark.parametrize("form", ["imagefolder", "parquet"])
def test_streamed_moments_are_those_of_all_training_images(tmp_path: Path, form: str) -> None:
    count = 2300  # more than a sample would have been
    pixels = RNG.integers(0, 256, (count, 1, 4, 4), dtype=np.uint8)
    pixels[::7] //= 3
    table = pd.DataFrame({"image": [png(one[0]) for one in pixels], "label": np.arange(count) % 2})
    if form == "parquet":
        table.to_parquet(tmp_path / "0.parquet", row_group_size=50)
    for at in range(count if form == "imagefolder" else 0):
        (tmp_path / str(at % 2)).mkdir(exist_ok=True)
        (tmp_path / str(at % 2) / f"{at:05}.png").write_bytes(table["image"][at])
    resident, streamed = (
        split(load_dataset(f"{form}:{tmp_path}", Options(memory=memory)), 0) for memory in ("resident", "stream")
    )
    assert torch.equal(resident.mean, streamed.mean)
    assert torch.equal(resident.std, streamed.std)
    truth = whole(resident.train.inputs).double()
    assert resident.mean.item() == pytest.approx(truth.mean().item(), rel=1e-6)
    assert resident.std.item() == pytest.approx(truth.std().item(), rel=1e-6)
    streamed.train.pool.source.read = None  # type: ignore[method-assign]
    again = split(load_dataset(f"{form}:{tmp_path}", Options(memory="stream")), 0)
    assert torch.equal(again.mean, resident.mean)  # kept on disk: no image is read again


def test_a_word_among_numbers_is_refused_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("size,label\n" + "".join(f"{at},{at % 2}\n" for at in range(9)) + "n/k,1\n")
    with pytest.raises(DataError, match="column 'size': row 9: 'n/k' is no number, as most of the column are"):
        load_dataset(f"csv:{file}")
    file.write_text("id,label\n" + "".join(f"name{at},{at % 2}\n" for at in range(300)))
    with pytest.raises(DataError, match="column 'id': holds 300 different texts, at most 256 become inputs"):
        load_dataset(f"csv:{file}")
    file.write_text("colour,size,label\nred,1,0\nblue,2,1\nred,3,1\n")
    assert "3 features (1 column of texts as one-hot)" in load_dataset(f"csv:{file}").source


def test_made_up_files_under_published_names_are_refused(tmp_path: Path) -> None:
    root = write_idx(tmp_path)
    for name in ("mnist", "fashion_mnist", "kmnist"):
        with pytest.raises(DataError, match=r"its MD5 is .*damaged, or not the published file.*data\.verify: false"):
            load_dataset(name, Options(root=str(root)))


def test_every_published_file_has_a_checksum() -> None:
    for name, one in published.PUBLISHED.items():
        assert one.files, name
        assert all(len(sum_) == 32 for sum_ in (*one.files.values(), *one.contents.values()))


def test_files_compressed_anew_are_known_by_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_idx(tmp_path)
    contents = {name: hashlib.md5(gzip.decompress((root / name).read_bytes())).hexdigest() for name in IDX}
    fake = published.Published("", dict.fromkeys(IDX, "0" * 32), None, contents)
    monkeypatch.setitem(published.PUBLISHED, "fashion_mnist", fake)
    assert len(load_dataset("fashion_mnist", Options(root=str(root))).labels) == 24


def hub_directory(root: Path, splits: dict[str, slice]) -> Path:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"img": datasets.Image(), "fine_label": datasets.ClassLabel(names=list(NAMES))})
    root.mkdir()
    for name, rows in splits.items():
        columns = {"img": [Image.fromarray(one) for one in COLOUR[rows]], "fine_label": LABELS[rows].tolist()}
        datasets.Dataset.from_dict(columns, features).to_parquet(root / f"{name}.parquet")
    return root


def test_splits_of_the_hub_are_used_once_each(tmp_path: Path) -> None:
    alone = load_dataset(f"hub:{hub_directory(tmp_path / 'alone', {'test': slice(0, 24)})}")
    assert (len(alone.labels), alone.parts) == (24, {})
    assert "its only split is 'test'" in alone.source
    three = {"train": slice(0, 15), "validation": slice(15, 18), "test": slice(18, 24)}
    data = load_dataset(f"hub:{hub_directory(tmp_path / 'three', three)}")
    assert data.parts == {"validation": range(15, 18), "test": range(18, 24)}
    assert torch.equal(whole(split(data, 0).validation.inputs), torch.from_numpy(COLOUR[15:18]).permute(0, 3, 1, 2))
    hub_directory(tmp_path / "none", {"test": slice(0, 12), "validation": slice(12, 24)})
    with pytest.raises(DataError, match="has no train split; there are"):
        load_dataset(f"hub:{tmp_path / 'none'}")


def test_the_hub_is_never_asked_by_check_or_info(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("datasets")
    import socket

    asked: list[Any] = []

    def refuse(*given: Any, **more: Any) -> Any:
        asked.append(given)
        raise OSError("no network here")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    study = tmp_path / "study.yaml"
    study.write_text("space: {grid: {depth: [8]}}\ndata: {name: 'hub:nobody/nothing'}\n")
    for command in (["check", str(study)], ["data", "info", "hub:nobody/nothing"]):
        with pytest.raises(SystemExit, match="2"):
            main(command)
        said = capfd.readouterr().err
        assert said.count("\n") == 1
        assert "is not in the hub's local cache; `ressearch data fetch hub:nobody/nothing` downloads it" in said
    assert not asked
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the hub's library tries five times
    with pytest.raises(SystemExit, match="2"):
        main(["data", "fetch", "hub:nobody/nothing"])
    assert capfd.readouterr().err.count("\n") == 1


def test_info_takes_the_options_of_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for index in range(10):
            Image.new("RGB", (20 + index, 30), (9, 9, 9)).save(tmp_path / label / f"{index}.png")
    with pytest.raises(SystemExit, match="2"):
        main(["data", "info", f"imagefolder:{tmp_path}"])
    assert "data.size brings all to one size" in capsys.readouterr().err
    main(["data", "info", f"imagefolder:{tmp_path}", "--size", "16", "--channels", "1", "--memory", "stream", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["input_shape"], found["memory"], found["published_parts"]) == ([1, 16, 16], "decoded when needed", [])
    assert found["decoded_per_second"] > 0
    (tmp_path / "t.csv").write_text("kind,size\n" + "a,1\nb,2\n" * 9)
    main(["data", "info", f"csv:{tmp_path / 't.csv'}", "--label", "kind"])
    assert "validation a fifth, test a fifth; seed 0" in capsys.readouterr().out


def test_what_was_fetched_from_the_hub_is_read_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    import shutil

    made = hub_directory(tmp_path / "made", {"train": slice(0, 18), "test": slice(18, 24)})
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.load_dataset(str(made), cache_dir=str(tmp_path / "first"))
    (written,) = (one.parent for one in (tmp_path / "first").rglob("dataset_info.json"))
    # As a download of owner/name lays it down: only the names of directories and files differ.
    kept = Path(shutil.copytree(written, tmp_path / "cache" / "owner___name" / "default" / "0.0.0" / written.name))
    for file in kept.glob("*.arrow"):
        file.rename(kept / f"name-{file.name.rpartition('-')[2]}")
    data = load_dataset("hub:owner/name")
    assert data.parts == {"test": range(18, 24)}
    assert torch.equal(whole(data.inputs), torch.from_numpy(COLOUR).permute(0, 3, 1, 2))


def test_the_page_on_data_states_the_bounds_that_hold() -> None:
    from ressearch.data import images, paths, sources, spool, tables

    page = " ".join((Path(ressearch.__file__).parents[1] / "docs" / "data.md").read_text().split())
    for said in (
        f"Images of more than {images.MOST_PIXELS // 10**6} million pixels are refused",
        f"each text of a column of texts (at most {tables.MOST_TEXTS})",
        f"From {spool.HELD // 2**20} MiB on, arrays lie in a file",
        f"Images that need more than {paths.RESIDENT // 2**30} GiB decoded",
        f"more than {sources.Rows._KEPT} groups (or of {sources.Rows._KEPT_BYTES // 2**20} MiB) are copied once",
    ):
        assert said in page
    for name in registry.DATASETS:
        assert f"`{name}" in page
