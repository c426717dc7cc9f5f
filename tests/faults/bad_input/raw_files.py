"""Faults of raw MIMIC-IV files, read by stage convert."""

from tests.faults.bad_input.any_file import ANY_CSV, ANY_FILE, ANY_GZIP
from tests.faults.bad_input.damage import (
    both,
    cell,
    changed,
    column,
    renamed,
    replaced_by,
    rows,
    without,
)
from tests.faults.bad_input.fault import SAME, Cases, faults, handled, refused, unnoticed


def note(text):
    return cell("text", text)


NO_ITEM = unnoticed("a row that names no item is of none that is read")
PATIENTS: Cases = {
    "column missing": (without("anchor_age"), refused("no column 'anchor_age'")),
    "column renamed": (renamed("subject_id", "subject"), refused("no column 'subject_id'")),
    "column in upper case": (changed(lambda t: t.replace(b"subject_id", b"SUBJECT_ID")), SAME),
    "text in a number": (
        cell("anchor_age", "sixty"),
        refused("row 2: anchor_age 'sixty' is not a whole number"),
    ),
    "negative age": (cell("anchor_age", "-5"), handled("younger than 18 years, or age unknown")),
    "impossible age": (
        cell("anchor_age", "400"),
        refused("stay_id 30000129 has an age of 400 years, which is outside 0-120", names="raw"),
    ),
    "huge number": (
        cell("anchor_age", "9" * 30),
        refused("anchor_age '999999999999999999999999999999' is not a whole number"),
    ),
    "1e400": (
        cell("anchor_age", "1e400"),
        refused("anchor_age '1e400' is not a whole number"),
    ),
    "year 0": (
        cell("anchor_year", "0"),
        refused("stay_id 30000129 has an age of 2243 years, which is outside 0-120", names="raw"),
    ),
    "year with a comma": (
        cell("anchor_year", "2,179"),
        refused("anchor_year '2,179' is not a whole number"),
    ),
    "unknown sex": (cell("gender", "X"), handled("stays whose sex is neither F nor M")),
    "sex as word": (
        column("gender", lambda v: {"F": "female", "M": "male"}[v]),
        SAME,
    ),
    "duplicate id": (rows(lambda t: [*t, t[1]]), refused("subject_id 10000000 stands twice")),
    "ids as float": (
        column("subject_id", lambda v: v + ".0"),
        SAME,
    ),
    "ids with spaces": (
        column("subject_id", lambda v: " " + v + " "),
        SAME,
    ),
    "ids with leading zeros": (column("subject_id", lambda v: "00" + v), SAME),
    "ids of another version": (
        column("subject_id", lambda v: "9" + v),
        refused("90 of 90 rows are not in raw/hosp/patients.csv.gz"),
    ),
    "Latin-1 bytes": (
        changed(lambda t: t.replace(b"2008", b"20\xe98", 1)),
        refused("cannot be read: invalid utf-8 sequence"),
    ),
    "Latin-1 in the header": (
        changed(lambda t: t.replace(b"gender", b"g\xe9nder", 1)),
        refused("not a readable CSV: 'utf-8' codec can't decode byte"),
    ),
    "NUL in a field": (
        cell("anchor_age", "6\x004"),
        refused("anchor_age '6\\x004' is not a whole number"),
    ),
    "swapped with another": (replaced_by("admissions.csv.gz"), refused("no column 'gender'")),
}
ADMISSIONS: Cases = {
    "impossible date": (
        cell("admittime", "2179-02-30 10:00:00"),
        refused("admittime '2179-02-30 10:00:00' is not a time"),
    ),
    "time zone": (
        cell("dischtime", "2179-02-04 08:22:00+02:00"),
        refused("dischtime '2179-02-04 08:22:00+02:00' is not a time"),
    ),
    "American dates": (
        column("admittime", lambda v: v[5:7] + "/" + v[8:10] + "/" + v[:4] + v[10:]),
        refused("admittime '01/29/2179 07:45:00' is not a time"),
    ),
    "epoch seconds": (cell("admittime", "1700000000"), refused("admittime '1700000000' is not a time")),
    "far past": (cell("admittime", "0001-01-01 00:00:00"), SAME),
    "far future": (cell("dischtime", "9999-12-31 23:59:59"), handled("1 stay lasts longer than 730 days")),
    "year beyond 9999": (
        cell("dischtime", "12179-01-01 00:00:00"),
        refused("dischtime '12179-01-01 00:00:00' is not a time"),
    ),
    "discharge before admission": (cell("dischtime", "2100-01-01 00:00:00"), handled("outcome known before the end")),
    "times empty": (column("dischtime", lambda v: ""), handled("have no time of discharge from the hospital")),
    "label not 0 or 1": (cell("hospital_expire_flag", "2"), handled("outcome unknown")),
    "label as text": (
        cell("hospital_expire_flag", "yes"),
        refused("row 2: hospital_expire_flag 'yes' is not a whole number"),
    ),
    "label as float": (
        column("hospital_expire_flag", lambda v: v + ".0"),
        SAME,
    ),
    "labels of one class": (column("hospital_expire_flag", lambda v: "0"), handled("(0 mortality)")),
    "labels missing": (
        column("hospital_expire_flag", lambda v: ""),
        handled("admissions without a flag, judged by the time of death or the place of discharge"),
    ),
    "duplicate id": (rows(lambda t: [*t, t[1]]), refused("hadm_id 20000267 stands twice")),
    "Latin-1 bytes": (
        changed(lambda t: t.replace(b"URGENT", b"URG\xc9NT", 1)),
        refused("cannot be read: invalid utf-8 sequence"),
    ),
    "column missing": (without("hospital_expire_flag"), refused("no column 'hospital_expire_flag'")),
}
ICUSTAYS: Cases = {
    "impossible date": (cell("intime", "2179-13-29 15:21:57"), refused("intime '2179-13-29 15:21:57' is not a time")),
    "25 o'clock": (cell("intime", "2179-01-29 25:21:57"), refused("intime '2179-01-29 25:21:57' is not a time")),
    "time zone": (column("intime", lambda v: v + "Z"), SAME),
    "out before in": (
        rows(lambda t: [t[0], *[[*r[:5], r[6], r[5], r[7]] for r in t[1:]]]),
        refused("no ICU stay is left in the cohort", names="raw"),
    ),
    "one stay out before in": (cell("outtime", "2100-01-01 00:00:00"), handled("discharge before admission")),
    "stay outside its admission": (
        both(cell("intime", "2300-01-01 00:00:00"), cell("outtime", "2300-01-09 00:00:00")),
        handled("hospital discharge before the ICU admission"),
    ),
    "duplicate id": (rows(lambda t: [*t, t[1]]), refused("stay_id 30000129 stands twice")),
    "ids as float": (
        column("stay_id", lambda v: v + ".0"),
        SAME,
    ),
    "id empty": (cell("stay_id", ""), refused("stay_id is empty")),
    "ids with leading zeros": (column("stay_id", lambda v: "0" + v), SAME),
    "column missing": (without("outtime"), refused("no column 'outtime'")),
    "column renamed": (renamed("intime", "in_time"), refused("no column 'intime'")),
}
CHARTEVENTS: Cases = {
    "text in a number": (
        cell("valuenum", "high"),
        refused("row 2: valuenum 'high' is not a number"),
    ),
    "NaN": (column("valuenum", lambda v: "NaN"), handled("numbers taken from the text, having none in valuenum")),
    "infinity": (column("valuenum", lambda v: "inf"), handled("numbers taken from the text, having none in valuenum")),
    "1e400": (column("valuenum", lambda v: "1e400"), handled("numbers taken from the text, having none in valuenum")),
    "decimal commas": (
        column("valuenum", lambda v: v.replace(".", ",")),
        refused("is not a number (numbers are read as 7.35, with a point)"),
    ),
    "values empty": (column("valuenum", lambda v: ""), handled("numbers taken from the text")),
    "negative values": (
        column("valuenum", lambda v: "-" + v),
        refused("valuenum '-' is not a number"),
    ),
    "another unit": (column("valuenum", lambda v: v and str(float(v) * 1000)), handled("implausible heart_rate")),
    "impossible date": (
        cell("charttime", "2179-02-31 00:00:00"),
        refused("row 2: charttime '2179-02-31 00:00:00' is not a time (times are read as"),
    ),
    "time zone": (
        column("charttime", lambda v: v + "+01:00"),
        refused("row 2: charttime '2144-08-16 14:24:00+01:00' is not a time"),
    ),
    "times empty": (column("charttime", lambda v: ""), handled("no time")),
    "times out of the window": (
        column("charttime", lambda v: "1900" + v[4:]),
        handled("no sample has a measurement of"),
    ),
    "ids as float": (
        column("stay_id", lambda v: v and v + ".0"),
        SAME,
    ),
    "item ids as float": (
        column("itemid", lambda v: v + ".0"),
        SAME,
    ),
    "item ids unknown": (column("itemid", lambda v: "1" + v), handled("no sample has a measurement of")),
    "item id empty": (cell("itemid", ""), NO_ITEM),
    "ids of other stays": (column("stay_id", lambda v: v and "9" + v), handled("no sample has a measurement of")),
    "every row twice": (rows(lambda t: [*t, *t[1:]]), handled("charted twice")),
    "rows in another order": (rows(lambda t: [t[0], *t[:0:-1]]), SAME),
    "column missing": (without("valuenum"), refused("no column 'valuenum'")),
    "column renamed": (renamed("charttime", "time"), refused("no column 'charttime'")),
    "swapped with another": (replaced_by("icustays.csv.gz"), refused("no column 'itemid'")),
    "Latin-1 bytes": (
        changed(lambda t: t.replace(b"bpm", b"bp\xb5", 1)),
        refused("cannot be read: invalid utf-8 sequence"),
    ),
}
LABEVENTS: Cases = {
    "text in a number": (
        cell("valuenum", "low"),
        refused("row 2: valuenum 'low' is not a number"),
    ),
    "NaN": (column("valuenum", lambda v: "nan"), handled("numbers taken from the text, having none in valuenum")),
    "ids as float": (
        column("hadm_id", lambda v: v and v + ".0"),
        SAME,
    ),
    "column missing": (without("charttime"), refused("no column 'charttime'")),
    "Latin-1 bytes": (
        changed(lambda t: t.replace(b"mg/dL", b"\xb5g/dL", 1)),
        refused("cannot be read: invalid utf-8 sequence"),
    ),
    "impossible date": (
        column("charttime", lambda v: v.replace("-", "/")),
        refused("row 2: charttime '2179/01/29 15:32:00' is not a time"),
    ),
}
NOTES: Cases = {
    "1 MB note": (note("Fever. " * 150_000), handled("Fever")),
    "control characters": (note("a\x01\x02\x1b[31mred\x07 heart failure"), handled("heart failure")),
    "NUL bytes": (note("heart\x00 failure"), handled("heart failure")),
    "right to left": (note("\u202eheart failure \u05d0\u05d1 \u200f"), handled("heart failure")),
    "markup": (note("<script>alert(1)</script><b>heart failure</b> &amp; {{x}} %s ${y}"), handled("heart failure")),
    "unbalanced quotes": (note('he said "heart failure'), handled("heart failure")),
    "CRLF inside": (note("heart\r\n\r\nfailure\r"), handled("heart failure")),
    "quote left open by hand": (
        changed(lambda t: t.replace(b"\n", b'\n"', 3)),
        refused("row 2: a quotation mark stands within a text that does not begin with one"),
    ),
    "Latin-1 bytes": (
        changed(lambda t: t.replace(b"Past", b"P\xe4st", 1)),
        refused("cannot be read: invalid utf-8 sequence"),
    ),
    "unpaired surrogate": (
        changed(lambda t: t.replace(b"Past", b"\xed\xa0\x80", 1)),
        refused("cannot be read: invalid utf-8 sequence"),
    ),
    "emoji and combining marks": (note("🫀 hea\u0301rt failure"), handled("heart failure")),
    "texts empty": (column("text", lambda v: ""), refused("text is empty in all 503 notes")),
    "times empty": (column("charttime", lambda v: ""), handled("no time, and may have been written")),
    "impossible date": (cell("charttime", "2179-02-31 00:00:00"), refused("time '2179-02-31 00:00:00' is not a time")),
    "time zone": (column("charttime", lambda v: v + "Z"), SAME),
    "ids of nobody": (
        both(column("hadm_id", lambda v: "7"), column("subject_id", lambda v: "7")),
        refused("none of its 503 notes matches a stay by hadm_id"),
    ),
    "ids as float": (column("hadm_id", lambda v: v and v + ".0"), SAME),
    "ids with spaces": (column("hadm_id", lambda v: v and f" {v} "), SAME),
    "ids with leading zeros": (
        column("hadm_id", lambda v: v and f"00{v}"),
        SAME,
    ),
    "column missing": (without("text"), refused("no column text or note_text or note")),
    "id columns missing": (
        both(without("hadm_id"), without("subject_id")),
        refused("no column stay_id or icustay_id or hadm_id or admission_id or patient_id"),
    ),
    "time column missing": (without("charttime"), handled("no time, and may have been written")),
    "column renamed": (renamed("text", "body"), refused("no column text or note_text or note")),
    "every note twice": (rows(lambda t: [*t, *t[1:]]), SAME),
    "unquoted commas in a text": (
        changed(lambda t: t.replace(b'"', b"")),
        refused("row 2: has 11 fields, its header has 7"),
    ),
    "all notes late": (column("charttime", lambda v: "2999" + v[4:]), handled("there are no notes")),
}
FAULTS = [
    *faults(
        "convert",
        "raw/hosp/patients.csv.gz",
        ANY_CSV | ANY_FILE | ANY_GZIP | PATIENTS,
        {
            "wrong delimiter": refused("no column 'subject_id'"),
            "tabs for commas": refused("no column 'subject_id'"),
            "NUL bytes at the end": refused("cut off: its last line has no end and fewer than 6 fields"),
            "no header": refused("no column 'subject_id'"),
            "duplicated column": refused("two columns are named 'subject_id'"),
            "cut off in a row": refused("cut off: its last line has no end and fewer than 6 fields"),
            "binary": refused("no column 'subject_id'"),
            "flipped bits": refused("not a readable CSV: Error -3 while decompressing data: invalid distanc"),
        },
    ),
    *faults(
        "convert",
        "raw/hosp/admissions.csv.gz",
        ANY_CSV | ANY_FILE | ANY_GZIP | ADMISSIONS,
        {
            "wrong delimiter": refused("no column 'subject_id'"),
            "tabs for commas": refused("no column 'subject_id'"),
            "no header": refused("two columns are named ''"),
            "duplicated column": refused("two columns are named 'subject_id'"),
            "binary": refused("no column 'subject_id'"),
            "flipped bits": refused("not a readable CSV: Error -3 while decompressing data: invalid distanc"),
        },
    ),
    *faults(
        "convert",
        "raw/icu/icustays.csv.gz",
        ANY_CSV | ANY_FILE | ANY_GZIP | ICUSTAYS,
        {
            "wrong delimiter": refused("no column 'subject_id'"),
            "tabs for commas": refused("no column 'subject_id'"),
            "NUL bytes at the end": refused("cut off: its last line has no end and fewer than 8 fields"),
            "no header": refused("two columns are named 'Coronary Care Unit"),
            "duplicated column": refused("two columns are named 'subject_id'"),
            "cut off in a row": refused("cut off: its last line has no end and fewer than 8 fields"),
            "binary": refused("no column 'subject_id'"),
        },
    ),
    *faults(
        "convert",
        "raw/icu/chartevents.csv.gz",
        ANY_CSV | ANY_FILE | ANY_GZIP | CHARTEVENTS,
        {
            "wrong delimiter": refused("no column 'itemid'"),
            "tabs for commas": refused("no column 'itemid'"),
            "NUL bytes at the end": refused("cut off: its last line has no end and fewer than 11 fields"),
            "no header": refused("two columns are named ''"),
            "header twice": refused("is not a"),
            "duplicated column": refused("two columns are named 'subject_id'"),
            "cut off in a row": refused("cut off: its last line has no end and fewer than 11 fields"),
            "binary": refused("no column 'itemid'"),
            "emptied": refused("empty; a header line was expected"),
            "gzip of nothing": refused("empty; a header line was expected"),
            "flipped bits": refused("cannot be read: corrupt gzip stream"),
        },
    ),
    *faults(
        "convert",
        "raw/hosp/labevents.csv.gz",
        ANY_CSV | ANY_FILE | ANY_GZIP | LABEVENTS,
        {
            "wrong delimiter": refused("no column 'itemid'"),
            "tabs for commas": refused("no column 'itemid'"),
            "no header": refused("two columns are named ''"),
            "duplicated column": refused("two columns are named 'labevent_id'"),
            "header twice": refused("is not a"),
            "binary": refused("no column 'itemid'"),
            "emptied": refused("empty; a header line was expected"),
            "gzip of nothing": refused("empty; a header line was expected"),
            "flipped bits": refused("cannot be read: corrupt gzip stream"),
        },
    ),
    *faults(
        "convert",
        "raw/note/notes.csv.gz",
        ANY_CSV | ANY_FILE | ANY_GZIP | NOTES,
        {
            "wrong delimiter": refused("no column stay_id or icustay_id or hadm_id or admission_id or patient_id"),
            "tabs for commas": refused("no column stay_id or icustay_id or hadm_id or admission_id or patient_id"),
            "NUL bytes at the end": refused("cut off: its last line has no end and fewer than 7 fields"),
            "no header": refused("no column stay_id or icustay_id or hadm_id or admission_id or patient_id"),
            "header twice": refused("time 'charttime' is not a time"),
            "duplicated column": refused("two columns are named 'note_id'"),
            "cut off in a row": refused("row 336: a quotation mark is opened and not closed, or the file is cut off"),
            "binary": refused("no column stay_id or icustay_id or hadm_id or admission_id or patient_id"),
        },
    ),
]
