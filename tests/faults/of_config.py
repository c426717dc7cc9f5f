"""Corruptions of the configuration."""

from tests.faults.corruption import Corruption
from tests.faults.damage import FILES, both, changed, written


def corrupted(kind, old, new, **k):
    return Corruption(
        "mimic4.toml",
        kind,
        changed(lambda t: t.replace(old.encode(), new if isinstance(new, bytes) else new.encode(), 1)),
        k.pop("stage", "convert"),
        **k,
    )


def appended(kind, text, **k):  # appended
    return Corruption("mimic4.toml", kind, changed(lambda t: t + text.encode()), k.pop("stage", "convert"), **k)


def replaced(kind, damage):
    return Corruption("mimic4.toml", kind, damage, "convert")


DS = 'dataset = "mimic4"'
CORRUPTIONS = [replaced(k, d) for k, d in FILES.items()] + [
    replaced("binary", written(bytes(range(256)))),
    replaced("not TOML", written("dataset: mimic4\n")),
    replaced("JSON", written('{"dataset": 1}')),
    replaced("UTF-16", changed(lambda t: t.decode().encode("utf-16"))),
    replaced("byte order mark", changed(lambda t: b"\xef\xbb\xbf" + t)),
    replaced("CRLF line ends", changed(lambda t: t.replace(b"\n", b"\r\n"))),
    corrupted("Latin-1 bytes", DS, b'dataset = "m\xefmic4"'),
    corrupted("NUL in a name", DS, 'dataset = "a\\u0000b"'),
    replaced("cut off in a string", changed(lambda t: t[:20])),
    corrupted("key twice", DS, DS + "\n" + DS),
    corrupted("section twice", "[model]", "[paths]"),
    corrupted("unknown key", DS, DS + "\nsede = 3"),
    corrupted("unknown section", "[model]", "[modle]"),
    corrupted("unknown nested key", "hidden_size = 8", "hiden_size = 8"),
    corrupted("unknown option", "notes_file", "note_file"),
    corrupted("unknown option of none", "notes_file", "zzz"),
    corrupted("wrong type: text for a number", "hidden_size = 8", 'hidden_size = "8"'),
    corrupted("wrong type: float for an integer", "hidden_size = 8", "hidden_size = 8.5"),
    corrupted("wrong type: number for text", DS, "dataset = 4"),
    corrupted("wrong type: list for text", DS, 'dataset = ["a"]'),
    corrupted("wrong type: text for a section", DS, DS + '\nabnormal = "big"'),
    corrupted("wrong type: section for a number", DS, DS + "\nseed = {a = 1}"),
    corrupted("wrong type: true for a number", "heads = 2", "heads = true"),
    corrupted("wrong type: list of lists", DS, DS + "\nseeds = [[1]]"),
    corrupted("wrong type: date", DS, "dataset = 2020-01-01"),
    corrupted("NaN", "min_stay_hours = 48.0", "min_stay_hours = nan"),
    corrupted("infinity", "min_stay_hours = 48.0", "min_stay_hours = inf"),
    corrupted("1e400", "min_stay_hours = 48.0", "min_stay_hours = 1e400"),
    corrupted("negative hours", "min_stay_hours = 48.0", "min_stay_hours = -1.0"),
    corrupted("negative window", "min_stay_hours = 48.0", "window_hours = -48"),
    corrupted("window of no hours", "min_stay_hours = 48.0", "window_hours = 0"),
    corrupted("huge window", "min_stay_hours = 48.0", "window_hours = 1000000000000"),
    corrupted("huge number", "min_stay_hours = 48.0", "window_hours = " + "9" * 40),
    corrupted("negative age", "min_stay_hours = 48.0", "min_age = -1"),
    corrupted("share above 1", DS, DS + "\nsplit = {train = 1.5}"),
    corrupted("shares sum to 1", DS, DS + "\nsplit = {train = 0.9, validation = 0.1}"),
    corrupted("share of nothing", DS, DS + "\nsplit = {train = 0.0}"),
    corrupted("negative seed", DS, DS + "\nseed = -1"),
    corrupted("huge seed", DS, DS + "\nseed = 99999999999"),
    corrupted("seed twice", DS, DS + "\nseeds = [1, 1]"),
    corrupted("heads do not divide", "heads = 2", "heads = 3"),
    corrupted("bad choice", "min_stay_hours = 48.0", 'window = "middle"'),
    corrupted("no such plug", '\nname = "mimic4"', '\nname = "mimic5"'),
    corrupted("no such task", DS, DS + '\ntask = "survival"'),
    corrupted("plug with a path", '\nname = "mimic4"', '\nname = "../mimic4"'),
    corrupted("plug with dots", DS, DS + '\ntask = "mortality.os"'),
    corrupted("plug is a private module", DS, DS + '\ntask = "__init__"'),
    corrupted("plug name empty", DS, DS + '\ntask = ""'),
    corrupted("plug without a name", '\nname = "mimic4"', ""),
    corrupted("dataset missing", DS, ""),
    corrupted("dataset empty", DS, 'dataset = ""'),
    corrupted("dataset climbs out", DS, 'dataset = "../../x"'),
    corrupted("dataset is a path", DS, 'dataset = "a/b"'),
    corrupted("dataset is absolute", DS, 'dataset = "/tmp/x"'),
    corrupted("dataset is dots", DS, 'dataset = ".."'),
    corrupted("dataset with a backslash", DS, "dataset = 'a\\b'"),
    corrupted("dataset with a line end", DS, 'dataset = "a\\nb"'),
    corrupted("dataset too long", DS, f'dataset = "{"x" * 300}"'),
    corrupted("run name climbs out", 'run_name = "mimic4"', 'run_name = "../x"'),
    corrupted("run name with a slash", 'run_name = "mimic4"', 'run_name = "a/b"'),
    corrupted("run name is a dot", 'run_name = "mimic4"', 'run_name = "."'),
    corrupted("run name with control characters", 'run_name = "mimic4"', 'run_name = "a\\u001b[31m"'),
    corrupted("run name hidden", 'run_name = "mimic4"', 'run_name = ".x"'),
    corrupted("path empty", 'raw_dir = "raw"', 'raw_dir = ""'),
    corrupted("path to a file", 'raw_dir = "raw"', 'raw_dir = "mimic4.toml"'),
    corrupted("path to nothing", 'raw_dir = "raw"', 'raw_dir = "nowhere"'),
    corrupted("path with NUL", 'raw_dir = "raw"', 'raw_dir = "a\\u0000b"'),
    corrupted("table folder is a file", 'table_dir = "tables"', 'table_dir = "mimic4.toml"'),
    corrupted("table folder below a file", 'table_dir = "tables"', 'table_dir = "mimic4.toml/x"'),
    replaced(
        "folder is a link to itself",
        both(changed(lambda t: t.replace(b'"tables"', b'"loop"')), lambda p: (p.parent / "loop").symlink_to("loop")),
    ),
    corrupted("learning rate 0", "max_epochs = 2", "learning_rate = 0.0"),
    corrupted("no epochs", "max_epochs = 2", "max_epochs = 0"),
    corrupted("learning rate huge", "max_epochs = 2", "learning_rate = 1e30", stage="train"),
    corrupted("no modality", "heads = 2", "modalities = []"),
    corrupted("modality twice", "heads = 2", 'modalities = ["ehr", "ehr"]'),
    corrupted("accelerator that is not there", 'accelerator = "cpu"', 'accelerator = "cuda"', stage="train"),
    corrupted("sensitivity above 1", DS, DS + "\nevaluation = {sensitivities = [1.5]}"),
    corrupted("deep nesting", DS, DS + "\nx = " + "[" * 5000 + "]" * 5000),
    corrupted("note column that is not there", "[source]", '[source]\nnote_text_column = "nothing"'),
    corrupted("note file that is not there", '["raw/note/notes.csv.gz"]', '["nowhere.csv"]'),
    corrupted("note file is a folder", '["raw/note/notes.csv.gz"]', '["raw/note"]'),
    corrupted(
        "note file named twice", '["raw/note/notes.csv.gz"]', '["raw/note/notes.csv.gz", "raw/note/notes.csv.gz"]'
    ),
    corrupted(
        "URL that is none",
        DS,
        DS + '\nllm = {entity_backend = "openai_compatible", api_base_url = "not a url"}',
        stage="preprocess",
    ),
]
