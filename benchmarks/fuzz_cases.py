"""Inputs that nobody meant, for `fuzz.py`: study files, overrides, study directories, data files, networks, arguments.

Every input is drawn from one `random.Random` and written into a directory of its own, so that a seed and a number make
it again.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from ressearch.networks.presets import PRESETS

STUDIES = Path(__file__).parents[1] / "studies"

EVERYTHING = """\
name: everything
seed: 3
space:
  search:
    block: [basic, bottleneck]
    depths: [[1, 1, 1], [2, 2, 2]]
    width: {match: macs, target: 2M}
    skip: [none, {scaled: {alpha: {low: 0.1, high: 1.0}}}, {stochastic_depth: {survival: 0.5}}]
    norm: [batch, group]
data: {name: digits, validation: 0.2, test: 0.2}
recipe: {lr: {tune: [0.05, 0.1]}, epochs: 4, seeds: [0, 1], augmentation: [crop, mixup], ema: 0.9, warmup_epochs: 1}
search:
  trials: 9
  sampler: {name: tpe, n_startup_trials: 3}
  scheduler: {name: asha, grace_period: 1}
  objective: [val_accuracy, macs]
  constraints: {max_params: 1M, max_latency: 50ms, max_training_memory: 2G}
  budget: {epochs: 100, wall_time: 2h}
  points: [{skip: none}, resnet20-cifar]
  finalists: {count: 2, seeds: 3}
  baseline: random
resources: {cpus_per_trial: 1, trial_time_limit: 10m}
"""

SMALL = """\
question: which?
space:
  grid:
    skip: [none, identity]
    depth: [8, 14]
    width: 4
recipe: {epochs: 2, seeds: 2}
"""

SEARCHED = """\
space:
  search: {skip: [none, identity, scaled], depth: [8, 14, 20], width: {low: 4, high: 8}, se_ratio: [0.0, 0.25]}
recipe: {epochs: 2}
search: {trials: 5, sampler: {name: tpe, n_startup_trials: 2}, finalists: {count: 1, seeds: 2}}
"""


def _words(text: str) -> list[str]:
    return text.split()


def _values(text: str) -> list[str]:
    return [value.strip() for value in text.split("|")]


KEYS = _words("""
name question seed space space.grid space.search space.grid.depth space.grid.depths space.grid.width
space.grid.widths space.grid.strides space.grid.kernel_size space.grid.se_ratio space.grid.bottleneck_ratio
space.grid.group_width space.grid.stages space.grid.blocks_per_stage space.grid.skip space.grid.block
space.grid.norm space.grid.norm_order space.grid.activation space.grid.shortcut space.grid.stem
space.grid.stem_width space.grid.head_width space.grid.dropout space.grid.zero_gamma space.grid.w0
space.grid.wa space.grid.wm data data.name data.validation data.test data.fraction data.per_class data.root
data.size data.channels data.image data.label data.verify data.memory recipe recipe.optimizer recipe.lr
recipe.lr.tune recipe.lr_batch_size recipe.lr_rule recipe.momentum recipe.weight_decay recipe.schedule
recipe.warmup_epochs recipe.epochs recipe.batch_size recipe.label_smoothing recipe.gradient_clip recipe.ema
recipe.augmentation recipe.seeds recipe.precision recipe.channels_last recipe.replicates recipe.init recipe.cuda_graph
search search.trials search.sampler search.sampler.name search.scheduler search.scheduler.name
search.scheduler.grace_period search.scheduler.reduction_factor search.objective search.constraints
search.constraints.max_params search.constraints.max_macs search.constraints.max_activations
search.constraints.max_training_memory search.constraints.max_latency search.budget search.budget.epochs
search.budget.macs_trained search.budget.wall_time search.points search.warm_start search.finalists
search.finalists.count search.finalists.seeds search.finalists.epochs search.baseline search.storage resources
resources.cpus_per_trial resources.gpus_per_trial resources.concurrency resources.trial_time_limit
resources.max_failure_rate loggers
""")

VALUES = _values("""
-1 | 0 | 1 | 2 | 3 | 7 | 64 | 1000 | 65536 | 65537 | 1000000 | 1000000000 | 99999999999999999999 | 0.5 | 1.5 |
-0.0 | 1e-30 | 1e308 | 1e99 | nan | .nan | .inf | -.inf | null | ~ | true | false | yes | '' | [] | {} | [[]] |
[[[]]] | [1,[2]] | [null] | [1,2,3] | [3,3,3] | [1,2,100000] | [2,2] | [0,0,0] | {a: b} | {low: 1, high: 3} |
{low: 1, high: 1000000000} | {low: 3, high: 1} | {low: 0.1, high: 1, log: true} | {low: 1, high: 9, step: 0} |
{match: macs, target: 1M} | {match: macs, target: -1} | {scaled: {alpha: .nan}} |
{dense: {growth_rate: 1000000}} | {name: asha} | {name: asha, reduction_factor: 1} |
{name: tpe, n_startup_trials: -1} | {name: nsga2, population_size: 1} | {} | 'ü' | 2M | 5ms | 2G | 20k | 1MB |
10h | [none | !!python/object/apply:os.system [ls] | !!bool x | !!int x | *x | &x 3 | 0x1F | 0o17 | 1:30 |
2001-01-01 | 2001-99-99 | 1_000 | ../../x | /etc/passwd | /dev/null | . | .. | a/b | resnet20-cifar |
basic-d1.1-w4.8 | basic | identity | none | dense | fixup | scaled | depthwise_bottleneck | convnext | mlp |
transformer | digits | breast_cancer | digits_rows | wine | nosuch | csv:nosuch | npz:/dev/null |
imagefolder:/ | parquet:. | hub:nobody/nothing | cosine | one_cycle | bfloat16 | float16 | float64 | auto |
grouped | separate | mixup | [crop,flip] | tensorboard | wandb | sqlite:///x.db | sqlite:////nope/x.db | foo |
random | qmc | gp | cmaes | nsga3 | hyperband | median | pb2 | val_accuracy | [val_loss,macs] | [macs] |
val_acuracy | 🦊 | =
""")
VALUES += ["9" * 20, "9" * 5000, "[" * 3000, "x" * 5000, "a\0b", "a\ud800", "", " ", "{1: 2}", "{[1]: 2}", "[1, 2"]

PLAUSIBLE = {
    "seed": "0 | 7 | 4294967295",
    "space.grid.depth": "8 | [8,14] | 20 | [20,8]",
    "space.grid.width": "4 | 8 | [4,6] | 1 | {low: 4, high: 6}",
    "space.grid.block": "basic | bottleneck | [basic,bottleneck] | single",
    "space.grid.skip": "none | scaled | rezero | stochastic_depth | highway | fixup | dense | [none,identity]",
    "space.grid.kernel_size": "3 | 5 | [1,3] | [[3,5,3]]",
    "space.grid.norm": "batch | group | layer | none",
    "space.grid.se_ratio": "0 | 0.25 | [0.0,0.5]",
    "space.grid.stages": "1 | 2 | 3",
    "space.grid.strides": "[1,2,2] | [1,1,1] | [2,2,2]",
    "data.name": "digits | breast_cancer | digits_rows | wine",
    "data.validation": "0.1 | 0.3 | 0.9 | null",
    "data.per_class": "1 | 5 | 50",
    "recipe.lr": "0.1 | 1e-3 | {tune: [0.1, 1]} | {transfer: mup, base: 0.1, base_width: 4}",
    "recipe.epochs": "1 | 2 | 30",
    "recipe.batch_size": "2 | 32 | 64 | 4096",
    "recipe.seeds": "1 | 3 | [5,9] | 20",
    "recipe.precision": "float32 | float64 | bfloat16 | float16",
    "recipe.schedule": "cosine | constant | one_cycle",
    "recipe.augmentation": "[crop] | [flip,cutout] | [mixup] | []",
    "search.scheduler": "fifo | asha | {name: asha, grace_period: 1} | median | hyperband",
    "search.sampler": "grid",
    "search.trials": "1 | 2 | 100",
    "search.constraints.max_params": "20k | 1M | 100000",
    "search.constraints.max_latency": "50ms | 100",
    "search.constraints.max_training_memory": "1G | 512MiB",
    "search.budget.epochs": "10 | 1k",
    "search.budget.wall_time": "10 | 30m",
    "search.finalists.count": "0 | 1 | 2",
    "resources.concurrency": "1 | 2",
    "resources.trial_time_limit": "10 | 5m",
}
"""Values that may well be meant: what is accepted is looked at, not only what is refused."""

JUNK: list[Any] = [None, True, -1, 0, 1, 10**12, 10**30, -(10**19), 1.5, float("nan"), float("inf"), "", "x", "9" * 400]
JUNK += [[], {}, [None], [[1]], {"a": 1}, ["a"], "../x", "\0", "completed", "running", [10**30], "2026-01-01", 2**63]


class Case(NamedTuple):
    """One input: the command's arguments, and what was done to its files."""

    arguments: list[str]
    note: str


def make(chance: random.Random, bases: Path, work: Path) -> Case:
    """Draw an input and write its files into the empty directory `work`; `bases` has study directories to damage."""
    kinds: list[tuple[Callable[[random.Random, Path, Path], Case], int]] = [
        (spoilt_study, 24),
        (overridden_study, 28),
        (damaged_directory, 26),
        (odd_network, 9),
        (damaged_data, 7),
        (odd_arguments, 6),
    ]
    kind = chance.choices([one for one, _ in kinds], [weight for _, weight in kinds])[0]
    return kind(chance, bases, work)


def spoilt_study(chance: random.Random, bases: Path, work: Path) -> Case:
    """A study file that people, editors or disks have changed."""
    texts = [path.read_text() for path in sorted(STUDIES.glob("*.yaml"))] + [EVERYTHING, SMALL, SEARCHED]
    text = chance.choice(texts)
    file = work / "study.yaml"
    if chance.random() < 0.15:
        file.write_bytes(_damage_bytes(chance, text.encode()))
    else:
        file.write_text(_spoil(chance, text), encoding="utf-8", errors="surrogatepass")
    return Case(["check", str(file), *_json(chance)], "a spoilt study file")


def overridden_study(chance: random.Random, bases: Path, work: Path) -> Case:
    """A good study file with one to three odd overrides."""
    file = work / "study.yaml"
    file.write_text(chance.choice([SMALL, SMALL, SEARCHED, EVERYTHING]))
    sets: list[str] = []
    for _ in range(chance.choice([1, 1, 2, 3])):
        if chance.random() < 0.5:
            key = chance.choice(list(PLAUSIBLE))
            sets += ["--set", f"{key}={chance.choice(_values(PLAUSIBLE[key]))}"]
            continue
        key = chance.choice(KEYS)
        if chance.random() < 0.3:
            key = key.replace("grid", "search")
        if chance.random() < 0.05:
            key = _damage_text(chance, key)
        sets += ["--set", f"{key}={chance.choice(VALUES)}"]
    return Case(["check", str(file), *sets, *_json(chance)], "overrides")


def damaged_directory(chance: random.Random, bases: Path, work: Path) -> Case:
    """A study directory with one to three files damaged."""
    base = chance.choice(sorted(path for path in bases.iterdir() if path.is_dir()))
    directory = work / "study"
    shutil.copytree(base, directory)
    damaged: list[str] = []
    done = [_damage_one(chance, directory, damaged) for _ in range(chance.choice([1, 1, 1, 2, 3]))]
    command = chance.choices(["status", "pick", "resume", "export", "report"], [28, 24, 28, 12, 8])[0]
    arguments = [command, str(directory)]
    if command == "export":
        arguments += ["--out", str(work / "network.pt")]
        arguments += chance.choice([[], ["--trial", chance.choice(["0", "1", "99", str(10**30)])]])
    if command == "report" and chance.random() < 0.5:
        arguments += ["--out", str(work / "page")]
    if command == "pick" and chance.random() < 0.3:
        arguments += ["--max-params", chance.choice(["1", "20k", "1e9", "x", "-1", "nan", "9" * 400])]
    return Case(arguments, f"{base.name}: {', '.join(done)}")


def odd_network(chance: random.Random, bases: Path, work: Path) -> Case:
    """`cost` and `show` of a name, or a JSON file, that is none."""
    arguments = [chance.choice(["cost", "show"])]
    if chance.random() < 0.5:
        name = chance.choice(
            [*PRESETS, "basic-d3.3.3-w8.16.32+skip=scaled+alpha=0.5", "mlp-d2-w16", "convnext-d1.1-w8.16+strides=1.2"]
        )
        arguments += ["--", _damage_text(chance, name)] if chance.random() < 0.9 else ["--", name]
    else:
        fields: dict[str, Any] = {"block": "basic", "depths": [1, 1], "widths": [8, 16], "skip": "scaled"}
        fields |= {"skip_options": {"alpha": 0.5}, "kernel_size": 3, "se_ratio": 0.25}
        keys = [*fields, "strides", "bottleneck_ratio", "group_width", "stem", "stem_width", "dropout", "head_width"]
        for _ in range(chance.choice([1, 2])):
            fields[chance.choice([*keys, "x"])] = chance.choice(JUNK)
        text = json.dumps(fields)
        text = _damage_text(chance, text) if chance.random() < 0.3 else text
        (work / "network.json").write_text(text, encoding="utf-8", errors="surrogatepass")
        arguments.append(str(work / "network.json"))
    options = [["--input", chance.choice(["3x32x32", "30", "64x16", "1x1x1", "0x1", "9" * 30, "3x99999x9", "axb", ""])]]
    options += [["--classes", chance.choice(["1", "10", "0", "-1", str(10**12), "x"])], ["--json"]]
    for option in chance.sample(options, chance.choice([0, 0, 1, 2])):
        arguments[1:1] = option
    return Case(arguments, "a network")


def damaged_data(chance: random.Random, bases: Path, work: Path) -> Case:
    """`data info`, or `check`, of a small data set whose file is damaged."""
    kind = chance.choice(["csv", "npz", "parquet", "imagefolder"])
    place = work / f"data.{kind}"
    _write_data(kind, place)
    files = sorted(path for path in ([place] if place.is_file() else place.rglob("*")) if path.is_file())
    for file in chance.sample(files, 1 if chance.random() < 0.8 else min(3, len(files))):
        file.write_bytes(_damage_bytes(chance, file.read_bytes()))
    if chance.random() < 0.3:
        (work / "study.yaml").write_text(SMALL + f"data: {{name: '{kind}:{place}'}}\n")
        return Case(["check", str(work / "study.yaml")], f"damaged {kind}")
    return Case(["data", "info", f"{kind}:{place}", *_json(chance)], f"damaged {kind}")


def odd_arguments(chance: random.Random, bases: Path, work: Path) -> Case:
    """Commands with options, values and places that do not belong together."""
    (work / "study.yaml").write_text(SMALL)
    (work / "mine.txt").write_text("mine")
    (work / "mine").mkdir()
    (work / "mine" / "report.html").write_text("mine")
    base = chance.choice(sorted(path for path in bases.iterdir() if path.is_dir()))
    shutil.copytree(base, work / "study")
    places = [str(work / name) for name in ("study.yaml", "mine.txt", "mine", "study", "nowhere", "a\nb", "x" * 300)]
    words = [
        *places,
        *places,
        "",
        "a\ud800b",
        *_words("--json --out --set --trial --max-macs --root --input --png --help"),
    ]
    words += _words("- -- -x --jsn digits wine resnet20-cifar /dev/null")
    commands = _values("check | cost | show | status | report | pick | export | resume | data | data info | data list")
    command = chance.choice([*commands, "presets", "chek", "", "--version"]).split(" ")
    return Case([*command, *(chance.choice(words) for _ in range(chance.randint(0, 4)))], "arguments")


def _json(chance: random.Random) -> list[str]:
    return ["--json"] if chance.random() < 0.2 else []


def _spoil(chance: random.Random, text: str) -> str:
    lines = text.splitlines()
    for _ in range(chance.randint(1, 4)):
        if not lines:
            break
        at = chance.randrange(len(lines))
        line = lines[at]
        match chance.randrange(8):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, line)
            case 2:
                lines[at] = " " * chance.randrange(4) + line
            case 3:
                lines[at] = line[: chance.randrange(len(line) + 1)]
            case 4 if ":" in line:
                lines[at] = f"{line.split(':')[0]}: {chance.choice(VALUES)}"
            case 5:
                lines[at] = _damage_text(chance, line)
            case 6:
                words = line.split(" ")
                words[chance.randrange(len(words))] = chance.choice(VALUES)
                lines[at] = " ".join(words)
            case _:
                other = chance.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
    return "\n".join(lines) + "\n"


def _damage_text(chance: random.Random, text: str) -> str:
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(text) + 1)
        end = min(len(text), at + chance.choice([0, 0, 1, 1, 4]))
        put = chance.choice([*"abz_-:[]{},#'\"\t%@ü0.9+=/", "", "9" * 30, "..", "\0", "\ud800", "\u2028", "nan", "inf"])
        text = text[:at] + put + text[end:]
    return text


def _damage_bytes(chance: random.Random, data: bytes) -> bytes:
    match chance.randrange(6):
        case 0:
            return data[: chance.randrange(len(data) + 1)]
        case 1:
            return b""
        case 2:
            return chance.randbytes(chance.choice([1, 100, 5000]))
        case 3:
            at = chance.randrange(len(data) + 1)
            return data[:at] + chance.randbytes(chance.choice([1, 4, 64])) + data[at:]
        case 4:
            at = chance.randrange(len(data) + 1)
            return data[:at] + data[at + chance.choice([1, 10, 1000]) :]
        case _:
            changed = bytearray(data)
            for _ in range(chance.choice([1, 3, 30]) if changed else 0):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            return bytes(changed)


def _damage_one(chance: random.Random, directory: Path, done: list[str]) -> str:
    """Damage a file of a study directory, those in `done` anyhow; returns what was done."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != ".lock")
    if not files:
        return "nothing left"
    file = chance.choice(files)
    name = file.relative_to(directory).as_posix()
    how = chance.randrange(10)
    if how == 0:
        file.unlink()
        return f"{name} removed"
    if how == 1:
        file.unlink()
        file.mkdir()
        return f"{name} a directory"
    if how < 8 and name in done:
        how = 9  # what is damaged already may be no JSON, and no table
    done.append(name)
    if how < 8 and file.suffix in (".json", ".jsonl", ".journal"):
        return f"{name}: {_damage_json(chance, file)}"
    if how < 8 and file.suffix == ".yaml":
        file.write_text(_spoil(chance, file.read_text(errors="replace")), encoding="utf-8", errors="surrogatepass")
        return f"{name} spoilt"
    if how < 7 and file.suffix == ".parquet":
        table = pd.read_parquet(file) if file.stat().st_size > 100 else pd.DataFrame()
        if len(table.columns):
            column = chance.choice(list(table.columns))
            if chance.random() < 0.4:
                table = table.drop(columns=column)
            else:
                table[column] = chance.choice(["x", 1, None, 1.5])
        table.to_parquet(file)
        return f"{name} columns"
    file.write_bytes(_damage_bytes(chance, file.read_bytes()))
    return f"{name} bytes"


def _damage_json(chance: random.Random, file: Path) -> str:
    """Change one value of one line of JSON, at any depth."""
    lines = file.read_text(errors="replace").split("\n") if file.suffix != ".json" else [file.read_text()]
    at = chance.randrange(len(lines))
    try:
        value = json.loads(lines[at])
    except ValueError:
        return "left"
    path, here = [], value
    while isinstance(here, dict | list) and here:
        key: Any = chance.choice(list(here)) if isinstance(here, dict) else chance.randrange(len(here))
        path.append(key)
        if not isinstance(here[key], dict | list) or not here[key] or chance.random() < 0.35:
            if chance.random() < 0.25:
                del here[key]
            else:
                here[key] = chance.choice(JUNK)
            break
        here = here[key]
    else:
        value = chance.choice(JUNK)
    lines[at] = json.dumps(value)
    file.write_text("\n".join(lines))
    return f"line {at + 1} {'.'.join(map(str, path))}"


def _write_data(kind: str, place: Path) -> None:
    draw = np.random.default_rng(0)
    labels = np.arange(40) % 2
    if kind == "npz":
        np.savez(place, inputs=draw.random((40, 1, 8, 8), dtype=np.float32), labels=labels)
        place.with_suffix(".npz").exists() or place.with_name(place.name + ".npz").rename(place)
    elif kind == "imagefolder":
        for index, label in enumerate(labels):
            folder = place / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    else:
        table = pd.DataFrame({"a": draw.random(40), "b": draw.random(40), "label": labels})
        table.to_csv(place, index=False) if kind == "csv" else table.to_parquet(place)
