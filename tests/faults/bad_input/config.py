"""Faults of the configuration."""

from tests.faults.bad_input.any_file import ANY_FILE
from tests.faults.bad_input.damage import both, changed, text, written
from tests.faults.bad_input.fault import SAME, Cases, faults, refused, some

DATASET = 'dataset = "mimic4"'

CONFIG: Cases = {
    "binary": (written(bytes(range(256))), refused("not a TOML file: 'utf-8' codec can't decode byte")),
    "not TOML": (
        written("dataset: mimic4\n"),
        refused("not a TOML file: Expected '=' after a key in a key/value pair"),
    ),
    "JSON": (written('{"dataset": 1}'), refused("not a TOML file: Invalid statement")),
    "UTF-16": (
        changed(lambda t: t.decode().encode("utf-16")),
        refused("not a TOML file: 'utf-8' codec can't decode byte"),
    ),
    "byte order mark": (changed(lambda t: b"\xef\xbb\xbf" + t), SAME),
    "CRLF line ends": (changed(lambda t: t.replace(b"\n", b"\r\n")), SAME),
    "Latin-1 bytes": (
        text(DATASET, b'dataset = "m\xefmic4"'),
        refused("not a TOML file: 'utf-8' codec can't decode byte"),
    ),
    "NUL in a name": (
        text(DATASET, 'dataset = "a\\u0000b"'),
        refused("dataset = 'a\\x00b': names a folder, so it must be of letters, digits,"),
    ),
    "cut off in a string": (changed(lambda t: t[:20]), refused("key 'run_name' is missing")),
    "key twice": (text(DATASET, DATASET + "\n" + DATASET), refused("not a TOML file: Cannot overwrite a value")),
    "section twice": (text("[model]", "[paths]"), refused("not a TOML file: Cannot declare")),
    "unknown key": (text(DATASET, DATASET + "\nsede = 3"), refused("unknown key 'sede'")),
    "unknown section": (text("[model]", "[modle]"), refused("unknown key 'modle'")),
    "unknown nested key": (text("hidden_size = 8", "hiden_size = 8"), refused("unknown key 'model.hiden_size'")),
    "unknown option": (
        text("notes_file", "note_file"),
        refused("[source] name = 'mimic4': unknown key 'note_file'", names="[source] name = 'mimic4'"),
    ),
    "unknown option of none": (
        text("notes_file", "zzz"),
        refused("[source] name = 'mimic4': unknown key 'zzz'", names="[source] name = 'mimic4'"),
    ),
    "wrong type: text for a number": (
        text("hidden_size = 8", 'hidden_size = "8"'),
        refused("model.hidden_size = '8': input should be a valid integer"),
    ),
    "wrong type: float for an integer": (
        text("hidden_size = 8", "hidden_size = 8.5"),
        refused("model.hidden_size = 8.5: input should be a valid integer"),
    ),
    "wrong type: number for text": (
        text(DATASET, "dataset = 4"),
        refused("dataset = 4: input should be a valid string"),
    ),
    "wrong type: list for text": (
        text(DATASET, 'dataset = ["a"]'),
        refused("dataset = ['a']: input should be a valid string"),
    ),
    "wrong type: text for a section": (
        text(DATASET, DATASET + '\nabnormal = "big"'),
        refused("abnormal = 'big': input should be an object"),
    ),
    "wrong type: section for a number": (
        text(DATASET, DATASET + "\nseed = {a = 1}"),
        refused("seed = {'a': 1}: input should be a valid integer"),
    ),
    "wrong type: true for a number": (
        text("heads = 2", "heads = true"),
        refused("model.heads = True: input should be a valid integer"),
    ),
    "wrong type: list of lists": (
        text(DATASET, DATASET + "\nseeds = [[1]]"),
        refused("seeds.0 = [1]: input should be a valid integer"),
    ),
    "wrong type: date": (text(DATASET, "dataset = 2020-01-01"), refused("dataset is a date or time")),
    "NaN": (
        text("min_stay_hours = 48.0", "min_stay_hours = nan"),
        refused("cohort.min_stay_hours must be a finite number"),
    ),
    "infinity": (
        text("min_stay_hours = 48.0", "min_stay_hours = inf"),
        refused("cohort.min_stay_hours must be a finite number"),
    ),
    "1e400": (
        text("min_stay_hours = 48.0", "min_stay_hours = 1e400"),
        refused("cohort.min_stay_hours must be a finite number"),
    ),
    "negative hours": (
        text("min_stay_hours = 48.0", "min_stay_hours = -1.0"),
        refused("cohort.min_stay_hours = -1.0: input should be greater than or equal to 0"),
    ),
    "negative window": (
        text("min_stay_hours = 48.0", "window_hours = -48"),
        refused("cohort.window_hours = -48: input should be greater than 0"),
    ),
    "window of no hours": (
        text("min_stay_hours = 48.0", "window_hours = 0"),
        refused("cohort.window_hours = 0: input should be greater than 0"),
    ),
    "huge window": (
        text("min_stay_hours = 48.0", "window_hours = 1000000000000"),
        refused("cohort.window_hours = 1000000000000: input should be less than or equa"),
    ),
    "bin of no hours": (
        text("min_stay_hours = 48.0", "bin_hours = 0"),
        refused("cohort.bin_hours = 0: input should be greater than 0"),
    ),
    "bin longer than the window": (
        text("min_stay_hours = 48.0", "bin_hours = 72"),
        refused("cohort.bin_hours = 72 is longer than cohort.window_hours = 48; choose shorter bins"),
    ),
    "huge number": (
        text("min_stay_hours = 48.0", "window_hours = " + "9" * 40),
        refused("cohort.window_hours = 9999999999999999999999999999999999999999: input"),
    ),
    "negative age": (
        text("min_stay_hours = 48.0", "min_age = -1"),
        refused("cohort.min_age = -1: input should be greater than or equal to 0"),
    ),
    "share above 1": (
        text(DATASET, DATASET + "\nsplit = {train = 1.5}"),
        refused("split.train = 1.5: input should be less than 1"),
    ),
    "shares sum to 1": (
        text(DATASET, DATASET + "\nsplit = {train = 0.9, validation = 0.1}"),
        refused("split.train + split.validation must be below 1, so that a test share i"),
    ),
    "share of nothing": (
        text(DATASET, DATASET + "\nsplit = {train = 0.0}"),
        refused("split.train = 0.0: input should be greater than 0"),
    ),
    "negative seed": (
        text(DATASET, DATASET + "\nseed = -1"),
        refused("seed = -1: input should be greater than or equal to 0"),
    ),
    "huge seed": (
        text(DATASET, DATASET + "\nseed = 99999999999"),
        refused("seed = 99999999999: input should be less than or equal to 4294967295"),
    ),
    "seed twice": (text(DATASET, DATASET + "\nseeds = [1, 1]"), refused("seeds = [1, 1]: 1 stands twice")),
    "heads do not divide": (
        text("heads = 2", "heads = 3"),
        refused("model.hidden_size must be a multiple of model.heads"),
    ),
    "bad choice": (
        text("min_stay_hours = 48.0", 'window = "middle"'),
        refused("cohort.window = 'middle': input should be 'first', 'last' or 'whole'"),
    ),
    "no such plug": (
        text('\nname = "mimic4"', '\nname = "mimic5"'),
        refused("source.name = 'mimic5': there are: ", names="source.name = 'mimic5'"),
    ),
    "no such task": (
        text(DATASET, DATASET + '\ntask = "survival"'),
        refused("task.name = 'survival': there are: ", names="task.name = 'survival'"),
    ),
    "plug with a path": (
        text('\nname = "mimic4"', '\nname = "../mimic4"'),
        refused("source.name = '../mimic4': there are: ", names="source.name = '../mimic4'"),
    ),
    "plug with dots": (
        text(DATASET, DATASET + '\ntask = "mortality.os"'),
        refused(
            "task.name = 'mortality.os': no module 'mortality' is installed here; there are: ",
            names="task.name = 'mortality.os'",
        ),
    ),
    "plug is a private module": (
        text(DATASET, DATASET + '\ntask = "__init__"'),
        refused("task.name = '__init__': there are: ", names="task.name = '__init__'"),
    ),
    "plug name empty": (
        text(DATASET, DATASET + '\ntask = ""'),
        refused("task.name = '': there are: ", names="task.name = ''"),
    ),
    "plug without a name": (text('\nname = "mimic4"', ""), refused("key 'source.name' is missing")),
    "dataset missing": (text(DATASET, ""), refused("key 'dataset' is missing")),
    "dataset empty": (text(DATASET, 'dataset = ""'), refused("dataset = '': string should have at least 1 character")),
    "dataset climbs out": (
        text(DATASET, 'dataset = "../../x"'),
        refused("dataset = '../../x': names a folder, so it must be of letters, digits,"),
    ),
    "dataset is a path": (
        text(DATASET, 'dataset = "a/b"'),
        refused("dataset = 'a/b': names a folder, so it must be of letters, digits, spa"),
    ),
    "dataset is absolute": (text(DATASET, 'dataset = "/tmp/x"'), refused("names a folder")),
    "dataset is dots": (
        text(DATASET, 'dataset = ".."'),
        refused("dataset = '..': names a folder, so it must be of letters, digits, spac"),
    ),
    "dataset with a backslash": (
        text(DATASET, "dataset = 'a\\b'"),
        refused("dataset = 'a\\\\b': names a folder, so it must be of letters, digits, sp"),
    ),
    "dataset with a line end": (
        text(DATASET, 'dataset = "a\\nb"'),
        refused("dataset = 'a\\nb': names a folder, so it must be of letters, digits, sp"),
    ),
    "dataset too long": (
        text(DATASET, f'dataset = "{"x" * 300}"'),
        refused("dataset = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ),
    "run name climbs out": (
        text('run_name = "mimic4"', 'run_name = "../x"'),
        refused("run_name = '../x': names a folder, so it must be of letters, digits, s"),
    ),
    "run name with a slash": (
        text('run_name = "mimic4"', 'run_name = "a/b"'),
        refused("run_name = 'a/b': names a folder, so it must be of letters, digits, sp"),
    ),
    "run name is a dot": (
        text('run_name = "mimic4"', 'run_name = "."'),
        refused("run_name = '.': names a folder, so it must be of letters, digits, spac"),
    ),
    "run name with control characters": (
        text('run_name = "mimic4"', 'run_name = "a\\u001b[31m"'),
        refused("run_name = 'a\\x1b[31m': names a folder, so it must be of letters, digi"),
    ),
    "run name hidden": (
        text('run_name = "mimic4"', 'run_name = ".x"'),
        refused("run_name = '.x': names a folder, so it must be of letters, digits, spa"),
    ),
    "path empty": (
        text('raw_dir = "raw"', 'raw_dir = ""'),
        refused("holds data, eicu, eicu.toml, kg, llm.toml, meds, meds.toml, mimic3", names="."),
    ),
    "path to a file": (text('raw_dir = "raw"', 'raw_dir = "mimic4.toml"'), refused("missing")),
    "path to nothing": (
        text('raw_dir = "raw"', 'raw_dir = "nowhere"'),
        refused("missing", names="nowhere/hosp/patients.csv.gz"),
    ),
    "path with NUL": (
        text('raw_dir = "raw"', 'raw_dir = "a\\u0000b"'),
        refused("missing", names="a\\x00b/hosp/patients.csv.gz"),
    ),
    "table folder is a file": (
        text('table_dir = "tables"', 'table_dir = "mimic4.toml"'),
        refused("not a folder to write into"),
    ),
    "table folder below a file": (
        text('table_dir = "tables"', 'table_dir = "mimic4.toml/x"'),
        refused("not a folder to write into"),
    ),
    "folder is a link to itself": (
        both(changed(lambda t: t.replace(b'"tables"', b'"loop"')), lambda p: (p.parent / "loop").symlink_to("loop")),
        refused("File exists", names="loop"),
    ),
    "learning rate 0": (
        text("max_epochs = 2", "learning_rate = 0.0"),
        refused("training.learning_rate = 0.0: input should be greater than 0"),
    ),
    "no epochs": (
        text("max_epochs = 2", "max_epochs = 0"),
        refused("training.max_epochs = 0: input should be greater than 0"),
    ),
    "learning rate huge": (
        text("max_epochs = 2", "learning_rate = 1e30"),
        refused("epoch 1: the loss is not finite", names="epoch 1"),
    ),
    "no modality": (
        text("heads = 2", "modalities = []"),
        refused("model.modalities must name one or more of ehr, note, summary, each onc"),
    ),
    "modality twice": (
        text("heads = 2", 'modalities = ["ehr", "ehr"]'),
        refused("model.modalities must name one or more of ehr, note, summary, each onc"),
    ),
    "accelerator that is not there": (
        text('accelerator = "cpu"', 'accelerator = "cuda"'),
        refused(
            "training.accelerator = 'cuda': `CUDAAccelerator` can not run on your s",
            names="training.accelerator = 'cuda'",
        ),
    ),
    "sensitivity above 1": (
        text(DATASET, DATASET + "\nevaluation = {sensitivities = [1.5]}"),
        refused("evaluation.sensitivities.0 = 1.5: input should be less than 1"),
    ),
    "deep nesting": (
        text(DATASET, DATASET + "\nx = " + "[" * 5000 + "]" * 5000),
        refused("not a TOML file: maximum recursion depth exceeded"),
    ),
    "note column that is not there": (
        text("[source]", '[source]\nnote_text_column = "nothing"'),
        refused("no column 'nothing'", names="raw/note/notes.csv.gz"),
    ),
    "note file that is not there": (
        text('["raw/note/notes.csv.gz"]', '["nowhere.csv"]'),
        refused("missing", names="nowhere.csv"),
    ),
    "note file is a folder": (text('["raw/note/notes.csv.gz"]', '["raw/note"]'), refused("missing", names="raw/note")),
    "note file named twice": (
        text('["raw/note/notes.csv.gz"]', '["raw/note/notes.csv.gz", "raw/note/notes.csv.gz"]'),
        SAME,
    ),
    "URL that is none": (
        text(DATASET, DATASET + '\nllm = {entity_backend = "openai_compatible", api_base_url = "not a url"}'),
        refused("llm.api_base_url = 'not a url': expected http(s)://host/path", names="llm.api_base_url = 'not a url'"),
    ),
}
FAULTS = [
    *faults(
        "convert",
        "mimic4.toml",
        ANY_FILE
        | some(
            CONFIG,
            "binary",
            "not TOML",
            "JSON",
            "UTF-16",
            "byte order mark",
            "CRLF line ends",
            "Latin-1 bytes",
            "NUL in a name",
            "cut off in a string",
            "key twice",
            "section twice",
            "unknown key",
            "unknown section",
            "unknown nested key",
            "unknown option",
            "unknown option of none",
            "wrong type: text for a number",
            "wrong type: float for an integer",
            "wrong type: number for text",
            "wrong type: list for text",
            "wrong type: text for a section",
            "wrong type: section for a number",
            "wrong type: true for a number",
            "wrong type: list of lists",
            "wrong type: date",
            "NaN",
            "infinity",
            "1e400",
            "negative hours",
            "negative window",
            "window of no hours",
            "huge window",
            "huge number",
            "negative age",
            "share above 1",
            "shares sum to 1",
            "share of nothing",
            "negative seed",
            "huge seed",
            "seed twice",
            "heads do not divide",
            "bad choice",
            "no such plug",
            "no such task",
            "plug with a path",
            "plug with dots",
            "plug is a private module",
            "plug name empty",
            "plug without a name",
            "dataset missing",
            "dataset empty",
            "dataset climbs out",
            "dataset is a path",
            "dataset is absolute",
            "dataset is dots",
            "dataset with a backslash",
            "dataset with a line end",
            "dataset too long",
            "run name climbs out",
            "run name with a slash",
            "run name is a dot",
            "run name with control characters",
            "run name hidden",
            "path empty",
            "path to a file",
            "path to nothing",
            "path with NUL",
            "table folder is a file",
            "table folder below a file",
            "folder is a link to itself",
            "learning rate 0",
            "no epochs",
            "no modality",
            "modality twice",
            "sensitivity above 1",
            "deep nesting",
            "note column that is not there",
            "note file that is not there",
            "note file is a folder",
            "note file named twice",
        ),
        {
            "emptied": refused("key 'dataset' is missing"),
            "missing": refused("no such config file"),
            "a folder": refused("not a TOML file: [Errno 21] Is a directory: 'mimic4.toml'"),
            "a link to itself": refused("Too many levels of symbolic links"),
        },
    ),
    *faults("train", "mimic4.toml", some(CONFIG, "learning rate huge", "accelerator that is not there")),
    *faults("preprocess", "mimic4.toml", some(CONFIG, "URL that is none")),
]
