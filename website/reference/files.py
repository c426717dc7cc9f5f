"""Every table that passes between stages, from ``storage/schema.py``, and the arrays, from ``storage/dataset.py``."""

import inspect
import re

from emerge_ehr.storage import dataset, schema
from emerge_ehr.storage.schema import Column, Table
from website.reference.markdown import prose, sentence, table

KINDS = {"text": "text", "id": "id", "sex": "sex", "number": "number", "time": "time"}


def page() -> str:
    """The page."""
    tables = {id(one): one for one in vars(schema).values() if isinstance(one, Table)}
    parts = [
        "# Files\n\nThe tables that stages write and read, and the arrays of a dataset. "
        "[Tables](../file_formats.md) says what `convert` decides, [artefacts](../artefacts.md) what `preprocess` writes, and "
        "[what each stage checks](../stage_checks.md) which files it refuses.\n\n" + prose(schema.__doc__)
    ]
    return "\n\n".join([*parts, *map(table_part, tables.values()), arrays()])


def table_part(one: Table) -> str:
    """A table and its columns."""
    key = f" No two rows agree in {sentence(one.key)}." if one.key else ""
    parts = f" Or parts in a folder `{one.parts}/`." if one.parts else ""
    rows = [(f"`{column.name}`", KINDS[column.kind], values(column), column.meaning) for column in one.columns]
    return f"## {one.file}, by `{one.stage}`\n\nWritten by `--stage {one.stage}`.{key}{parts}\n\n" + table(
        ("column", "kind", "values", "meaning"), rows
    )


def values(column: Column) -> str:
    """What a field may hold."""
    bounds = [
        f"{column.low:g} or more" if column.low is not None else "",
        f"{column.high:g} at most" if column.high is not None else "",
    ]
    choices = ", ".join(f"`{choice}`" for choice in column.choices)
    said = [choices, *bounds, "may be empty" if column.nullable else ""]
    return "; ".join(part for part in said if part)


def arrays() -> str:
    """The arrays of ``Dataset``: name, and the shape and content that the comment beside it states."""
    fields = re.findall(r"^    (\w+): (.+?)(?:  # (.*))?$", inspect.getsource(dataset.Dataset), re.MULTILINE)
    rows = [(f"`{name}`", said) for name, _, said in fields if name in dataset.ARRAYS]
    return f"## {schema.DATASET}\n\n{prose(dataset.Dataset.__doc__)}\n\n" + table(("array", "shape and content"), rows)
