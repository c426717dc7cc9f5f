"""Faults of tables of a user's own, read by stage preprocess."""

import gzip

from tests.faults.bad_input.any_file import ANY_CSV, ANY_FILE
from tests.faults.bad_input.damage import (
    archived,
    cell,
    changed,
    column,
    renamed,
    rows,
    swapped_with,
    without,
)
from tests.faults.bad_input.fault import SAME, Cases, faults, handled, refused

DYNAMIC: Cases = {
    "text in a number": (cell("value", "high"), refused("value 'high' is not a number")),
    "NaN": (cell("value", "NaN"), refused("value 'NaN' is not a number")),
    "infinity": (cell("value", "-inf"), refused("value '-inf' is not a number")),
    "1e400": (cell("value", "1e400"), refused("value '1e400' is not a number")),
    "value empty": (cell("value", ""), refused("value is empty")),
    "decimal comma": (cell("value", "3,5"), refused("value '3,5' is not a number")),
    "huge number": (cell("value", "1e300"), refused("value '1e300' is not a number")),
    "hexadecimal": (cell("value", "0x10"), refused("value '")),
    "impossible date": (
        cell("event_time", "2179-02-30 10:00:00"),
        refused("event_time '2179-02-30 10:00:00' is not a time"),
    ),
    "time zone": (
        cell("event_time", "2179-02-28T10:00:00+02:00"),
        refused("event_time '2179-02-28T10:00:00+02:00' is not a time (times are read as"),
    ),
    "before the window (negative hours)": (
        cell("event_time", "1900-01-01 00:00:00"),
        refused("1 row outside the observation window, first: 30000017 at 1900-01-01 0"),
    ),
    "far future": (
        cell("event_time", "9999-12-31 23:59:59"),
        refused("1 row outside the observation window, first: 30000017 at 9999-12-31 2"),
    ),
    "patient unknown": (cell("patient_id", "0"), refused("patient_id '0' is not in cohort.csv")),
    "patient empty": (cell("patient_id", ""), refused("patient_id is empty")),
    "ids as float": (
        column("patient_id", lambda v: v + ".0"),
        handled("have an id with blanks around it, or with .0 at its end"),
    ),
    "ids with spaces": (
        column("patient_id", lambda v: v + " "),
        handled("have an id with blanks around it, or with .0 at its end"),
    ),
    "ids with leading zeros": (
        column("patient_id", lambda v: "0" + v),
        refused("patient_id '030000017' is not in cohort.csv, but '30000017' is (write ids one way"),
    ),
    "code unknown": (cell("code", "heart rate "), handled("is not spelt 'heart_rate'")),
    "code empty": (cell("code", ""), refused("code is empty")),
    "column missing": (without("value"), refused("no column 'value'")),
    "column renamed": (renamed("code", "signal"), refused("no column 'code'")),
    "column in upper case": (renamed("code", "CODE"), refused("no column 'code'")),
    "rows in another order": (rows(lambda t: [t[0], *t[:0:-1]]), SAME),
    "every row twice": (rows(lambda t: [*t, *t[1:]]), SAME),
    "Latin-1 bytes": (
        changed(lambda t: t.replace(b"glucose", b"gl\xfccose", 1)),
        refused("not a readable CSV: invalid utf-8 sequence"),
    ),
    "NUL in a field": (cell("value", "1\x002"), refused("value '1\\x002' is not a number")),
    "gzip under a plain name": (archived(gzip.compress), SAME),
}
STATIC: Cases = {
    "age out of range": (cell("age", "121"), refused("age '121' is outside 0-120")),
    "negative age": (cell("age", "-1"), refused("age '-1' is outside 0-120")),
    "age as text": (cell("age", "sixty"), refused("age 'sixty' is not a number")),
    "sex as word": (column("sex", lambda v: {"F": "female", "M": "Male"}[v]), SAME),
    "sex in lower case": (column("sex", str.lower), SAME),
    "sex of another word": (cell("sex", "woman"), refused("sex 'woman' is not one of F, M")),
    "duplicate id": (rows(lambda t: [*t, t[1]]), refused("patient_id 30000017 stands twice")),
    "patient lost": (rows(lambda t: [t[0], *t[2:]]), refused("patient_id '30000017' of cohort.csv is not there")),
    "patient too many": (rows(lambda t: [*t, ["zz", *t[1][1:]]]), SAME),
    "ids as float": (
        column("patient_id", lambda v: v + ".0"),
        handled("have an id with blanks around it, or with .0 at its end"),
    ),
    "ages empty": (column("age", lambda v: ""), handled("have no age")),
    "column missing": (without("age"), refused("no column 'age'")),
    "Latin-1 bytes": (
        changed(lambda t: t.replace(b"WHITE", b"WH\xcfTE", 1)),
        refused("not a readable CSV: invalid utf-8 sequence"),
    ),
    "NaN": (cell("age", "nan"), handled("1 of 78 patients have no age")),
}
LABEL: Cases = {
    "label not 0 or 1": (cell("label_value", "2"), refused("label_value '2' is outside 0-1")),
    "label 0.5": (cell("label_value", "0.5"), refused("label_value 0.5 of patient_id '30000017' is neither 0 nor 1")),
    "label negative": (cell("label_value", "-1"), refused("label_value '-1' is outside 0-1")),
    "label as text": (cell("label_value", "yes"), refused("label_value 'yes' is not a number")),
    "label empty": (cell("label_value", ""), refused("label_value is empty")),
    "NaN": (cell("label_value", "nan"), refused("label_value 'nan' is not a number")),
    "one class": (column("label_value", lambda v: "0"), handled("patients have mortality = 0")),
    "label of another task": (
        column("label_code", lambda v: "readmission"),
        refused("patient_id '30000017' of cohort.csv has no label_code mortality"),
    ),
    "duplicate id": (rows(lambda t: [*t, t[1]]), refused("patient_id and label_code 30000017, mortality stands twice")),
    "two values": (
        rows(lambda t: [*t, [*t[1][:3], "1" if t[1][3][0] == "0" else "0"]]),
        refused("patient_id and label_code 30000017, mortality stands twice"),
    ),
    "patient lost": (
        rows(lambda t: [t[0], *t[2:]]),
        refused("patient_id '30000017' of cohort.csv has no label_code mortality"),
    ),
    "patient too many": (rows(lambda t: [*t, ["zz", *t[1][1:]]]), SAME),
    "known in the window": (
        cell("label_time", "1900-01-01 00:00:00"),
        refused("label_time 1900-01-01 00:00:00 of patient_id '30000017' lies before th"),
    ),
    "impossible date": (
        cell("label_time", "2179-02-30 10:00:00"),
        refused("label_time '2179-02-30 10:00:00' is not a time"),
    ),
    "time empty": (cell("label_time", ""), refused("label_time is empty")),
    "time zone": (
        cell("label_time", "2300-02-28 10:00:00-05:00"),
        refused("label_time '2300-02-28 10:00:00-05:00' is not a time"),
    ),
    "column missing": (without("label_time"), refused("no column 'label_time'")),
}
COHORT: Cases = {
    "window reversed": (
        rows(lambda t: [t[0], *[[*r[:4], r[5], r[4], *r[6:]] for r in t[1:]]]),
        refused("the window of patient_id '30000017', 2144-08-18 14:13:24 to 2144-08-16"),
    ),
    "window too long": (
        cell("window_end", "2900-01-01 00:00:00"),
        refused("the window of patient_id '30000017', 2144-08-16 14:13:24 to 2900-01-01"),
    ),
    "window empty": (
        rows(lambda t: [t[0], [*t[1][:5], t[1][4]], *t[2:]]),
        refused("the window of patient_id '30000017', 2144-08-16 14:13:24 to 2144-08-16"),
    ),
    "impossible date": (
        cell("window_start", "2179-00-01 00:00:00"),
        refused("window_start '2179-00-01 00:00:00' is not a time"),
    ),
    "time zone": (
        cell("window_end", "2179-01-31 15:21:57 CET"),
        refused("window_end '2179-01-31 15:21:57 CET' is not a time"),
    ),
    "duplicate id": (rows(lambda t: [*t, t[1]]), refused("patient_id 30000017 stands twice")),
    "person empty": (cell("subject_id", ""), refused("subject_id is empty")),
    "all one person": (column("subject_id", lambda v: "1"), refused("too few persons")),
    "column missing": (without("subject_id"), refused("no column 'subject_id'")),
    "ids as float": (
        column("patient_id", lambda v: v + ".0"),
        handled("have an id with blanks around it, or with .0 at its end"),
    ),
    "patient lost": (rows(lambda t: [t[0], *t[2:]]), refused("patient_id '30000017' is not in cohort.csv")),
    "three patients left": (rows(lambda t: t[:4]), refused("patient_id '30000086' is not in cohort.csv")),
    "swapped with another": (swapped_with("static.csv"), refused("no column 'subject_id'")),
}
NOTES: Cases = {
    "1 MB note": (cell("text", "Fever and heart failure. " * 40_000), handled("Fever")),
    "control characters": (cell("text", "a\x01\x02\x1b[31mred\x07 heart failure"), handled("heart failure")),
    "NUL bytes": (cell("text", "heart failure\x00 \x00"), handled("heart failure")),
    "right to left": (cell("text", "\u202eheart failure \u05d0\u05d1 \u200f"), handled("heart failure")),
    "markup": (cell("text", "<script>alert(1)</script> heart failure ${y} {{x}} %s"), handled("heart failure")),
    "unbalanced quotes": (cell("text", 'he said "heart failure'), handled("heart failure")),
    "CRLF inside": (cell("text", "heart failure\r\n\r\nnone\r"), handled("heart failure")),
    "emoji": (cell("text", "🫀 heart failure"), handled("heart failure")),
    "text empty": (cell("text", ""), handled("notes have no text, and are left out")),
    "blank text": (cell("text", "   "), handled("notes have no text, and are left out")),
    "patient unknown": (cell("patient_id", "0"), refused("patient_id '0' is not in cohort.csv")),
    "late note": (
        cell("note_time", "9999-01-01 00:00:00"),
        refused("1 note written after the observation window, first: 30000017 at 9999-"),
    ),
    "time empty": (cell("note_time", ""), handled("no time, and may have been written")),
    "impossible date": (
        cell("note_time", "2179-02-30 10:00:00"),
        refused("note_time '2179-02-30 10:00:00' is not a time"),
    ),
    "Latin-1 bytes": (
        changed(lambda t: t.replace(b"Past", b"P\xe4st", 1)),
        refused("not a readable CSV: invalid utf-8 sequence"),
    ),
    "column missing": (without("note_type"), refused("no column 'note_type'")),
    "texts empty": (column("text", lambda v: ""), handled("text is empty in all")),
    "one word a hundred thousand times": (cell("text", "sepsis " * 100_000), handled("mentions 101135")),
    "quote left open by hand": (
        changed(lambda t: t.replace(b"Past", b'"Past', 1)),
        refused("row 2: a quotation mark"),
    ),
    "formula": (cell("text", "=cmd|' /C calc'!A0 heart failure"), handled("heart failure")),
}
FAULTS = [
    *faults(
        "preprocess",
        "own/dynamic.csv",
        ANY_CSV | ANY_FILE | DYNAMIC,
        {
            "UTF-16": refused("no column 'patient_id'"),
            "blank lines at the end": SAME,
            "NUL bytes at the end": refused("cut off: its last line has no end and fewer than 4 fields"),
            "header twice": refused("event_time 'event_time' is not a time"),
            "cut off in a row": refused("cut off: its last line has no end and fewer than 4 fields"),
            "emptied": refused("not a readable CSV: empty CSV"),
            "a folder": refused("not a file"),
            "a link to itself": refused("not a file"),
        },
        config="own.toml",
    ),
    *faults(
        "preprocess",
        "own/static.csv",
        ANY_CSV | ANY_FILE | STATIC,
        {
            "UTF-16": refused("no column 'patient_id'"),
            "blank lines at the end": SAME,
            "NUL bytes at the end": refused("cut off: its last line has no end and fewer than 5 fields"),
            "header only": refused("patient_id '30000017' of cohort.csv is not there"),
            "header twice": refused("age 'age' is not a number"),
            "cut off in a row": refused("cut off: its last line has no end and fewer than 5 fields"),
            "emptied": refused("not a readable CSV: empty CSV"),
            "a folder": refused("not a file"),
            "a link to itself": refused("not a file"),
        },
        config="own.toml",
    ),
    *faults(
        "preprocess",
        "own/label.csv",
        ANY_CSV | ANY_FILE | LABEL,
        {
            "UTF-16": refused("no column 'patient_id'"),
            "blank lines at the end": SAME,
            "NUL bytes at the end": refused("cut off: its last line has no end and fewer than 4 fields"),
            "header only": refused("patient_id '30000017' of cohort.csv has no label_code mortality"),
            "header twice": refused("label_time 'label_time' is not a time"),
            "cut off in a row": refused("cut off: its last line has no end and fewer than 4 fields"),
            "emptied": refused("not a readable CSV: empty CSV"),
            "a folder": refused("not a file"),
            "a link to itself": refused("not a file"),
        },
        config="own.toml",
    ),
    *faults(
        "preprocess",
        "own/cohort.csv",
        ANY_CSV | ANY_FILE | COHORT,
        {
            "UTF-16": refused("no column 'patient_id'"),
            "blank lines at the end": SAME,
            "NUL bytes at the end": refused("cut off: its last line has no end and fewer than 6 fields"),
            "header only": refused("holds no patient"),
            "header twice": refused("window_start 'window_start' is not a time"),
            "cut off in a row": refused("cut off: its last line has no end and fewer than 6 fields"),
            "emptied": refused("not a readable CSV: empty CSV"),
            "a folder": refused("not a file"),
            "a link to itself": refused("not a file"),
        },
        config="own.toml",
    ),
    *faults(
        "preprocess",
        "own/notes.csv",
        ANY_CSV | ANY_FILE | NOTES,
        {
            "UTF-16": refused("no column 'patient_id'"),
            "blank lines at the end": SAME,
            "NUL bytes at the end": refused("cut off: its last line has no end and fewer than 4 fields"),
            "header only": handled("there are no notes"),
            "header twice": refused("note_time 'note_time' is not a time"),
            "cut off in a row": refused("cut off: its last line has no end and fewer than 4 fields"),
            "emptied": refused("not a readable CSV: empty CSV"),
            "missing": handled("there are no notes"),
            "a folder": refused("not a file"),
            "a link to itself": refused("not a file"),
        },
        config="own.toml",
    ),
]
