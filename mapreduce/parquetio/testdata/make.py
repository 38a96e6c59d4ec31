"""Writes types.zip: one Parquet file for each type and writer.

Each file has the rows a, null, b of one type: alone (v), required (r, pyarrow only), in a list (l),
in a list of lists (ll), as a value of a map (m), in a struct (s), in a list of structs (ls), and
beside a list of strings (tags).

    pip install pyarrow duckdb polars && python make.py
"""

import datetime as dt, decimal, io, os, tempfile, uuid, zipfile
import duckdb, polars as pl, pyarrow as pa, pyarrow.parquet as pq

D = decimal.Decimal
utc = dt.timezone.utc
day, day2 = dt.date(2024, 3, 10), dt.date(1969, 12, 31)
at, at2 = dt.datetime(2024, 3, 10, 12, 34, 56, 123456), dt.datetime(1969, 12, 31, 23, 59, 59, 999000)
clock, clock2 = dt.time(1, 2, 3, 5000), dt.time(23, 59, 59, 999000)
ids = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff"), uuid.UUID(int=1)

ARROW = {
    "bool": (pa.bool_(), True, False), "int8": (pa.int8(), -128, 127), "int16": (pa.int16(), -32768, 5), "int32": (pa.int32(), -2**31, 5),
    "int64": (pa.int64(), -2**63, 2**63 - 1), "uint8": (pa.uint8(), 255, 1), "uint16": (pa.uint16(), 65535, 1), "uint32": (pa.uint32(), 2**32 - 1, 1),
    "uint64": (pa.uint64(), 2**64 - 1, 1), "half": (pa.float16(), 1.5, -0.25), "float": (pa.float32(), 1.5, -0.25), "double": (pa.float64(), 1.5, -0.25),
    "string": (pa.string(), "é", ""), "binary": (pa.binary(), b"\xff\x00", b""), "fixed8": (pa.binary(8), b"12345678", b"abcdefgh"),
    "dec9": (pa.decimal128(9, 2), D("12.34"), D("-0.01")), "dec18": (pa.decimal128(18, 2), D("12.34"), D("-0.01")),
    "dec38": (pa.decimal128(38, 2), D("12.34"), D("-0.01")), "dec0": (pa.decimal128(5, 0), D("1234"), D("-1")), "date": (pa.date32(), day, day2),
    "time_ms": (pa.time32("ms"), clock, clock2), "time_us": (pa.time64("us"), clock, clock2), "time_ns": (pa.time64("ns"), clock, clock2),
    "ts_ms": (pa.timestamp("ms"), at.replace(microsecond=123000), at2), "ts_us": (pa.timestamp("us"), at, at2), "ts_ns": (pa.timestamp("ns"), at, at2),
    "tz_us": (pa.timestamp("us", "UTC"), at.replace(tzinfo=utc), at2.replace(tzinfo=utc)), "int96": (pa.timestamp("ns"), at, at2),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), "é", ""),
    "dec9i": (pa.decimal128(9, 2), D("12.34"), D("-0.01")), "dec18i": (pa.decimal128(18, 2), D("12.34"), D("-0.01")),
    "page2": (pa.int64(), -2**63, 2**63 - 1), "plain": (pa.string(), "é", ""), "null": (pa.null(), None, None),
}

DUCK = {
    "bool": ("BOOLEAN", "true", "false"), "int8": ("TINYINT", "-128", "127"), "int16": ("SMALLINT", "-32768", "5"), "int32": ("INTEGER", "-2147483648", "5"),
    "int64": ("BIGINT", "-9223372036854775808", "9223372036854775807"), "uint8": ("UTINYINT", "255", "1"), "uint16": ("USMALLINT", "65535", "1"),
    "uint32": ("UINTEGER", "4294967295", "1"), "uint64": ("UBIGINT", "18446744073709551615", "1"), "float": ("FLOAT", "1.5", "-0.25"), "double": ("DOUBLE", "1.5", "-0.25"),
    "string": ("VARCHAR", "'é'", "''"), "binary": ("BLOB", "'\\xFF\\x00'", "''"), "uuid": ("UUID", f"'{ids[0]}'", f"'{ids[1]}'"), "dec9": ("DECIMAL(9,2)", "12.34", "-0.01"),
    "dec18": ("DECIMAL(18,2)", "12.34", "-0.01"), "dec38": ("DECIMAL(38,2)", "12.34", "-0.01"), "date": ("DATE", f"'{day}'", f"'{day2}'"), "time_us": ("TIME", f"'{clock}'", f"'{clock2}'"),
    "ts_ms": ("TIMESTAMP_MS", "'2024-03-10 12:34:56.123'", f"'{at2}'"), "ts_us": ("TIMESTAMP", f"'{at}'", f"'{at2}'"), "ts_ns": ("TIMESTAMP_NS", f"'{at}'", f"'{at2}'"),
    "tz_us": ("TIMESTAMPTZ", f"'{at}+00'", f"'{at2}+00'"), "enum": ("ENUM('é', '')", "'é'", "''"), "json": ("JSON", "'{\"a\":1}'", "'[]'"),
}

POLARS = {
    "bool": (pl.Boolean, True, False), "int8": (pl.Int8, -128, 127), "int64": (pl.Int64, -2**63, 2**63 - 1), "uint8": (pl.UInt8, 255, 1), "uint64": (pl.UInt64, 2**64 - 1, 1),
    "float": (pl.Float32, 1.5, -0.25), "double": (pl.Float64, 1.5, -0.25), "string": (pl.String, "é", ""), "binary": (pl.Binary, b"\xff\x00", b""),
    "dec18": (pl.Decimal(18, 2), D("12.34"), D("-0.01")), "dec38": (pl.Decimal(38, 2), D("12.34"), D("-0.01")), "date": (pl.Date, day, day2), "time_ns": (pl.Time, clock, clock2),
    "ts_ms": (pl.Datetime("ms"), at.replace(microsecond=123000), at2), "ts_us": (pl.Datetime("us"), at, at2), "ts_ns": (pl.Datetime("ns"), at, at2),
    "tz_us": (pl.Datetime("us", "UTC"), at.replace(tzinfo=utc), at2.replace(tzinfo=utc)), "dictionary": (pl.Categorical, "é", ""), "null": (pl.Null, None, None),
}


def values(a, b):
    return {"v": [a, None, b], "l": [[a, None], [], None], "ll": [[[a], []], None, [[b, a]]], "s": [{"v": a}, {"v": None}, None], "ls": [[{"v": a}], [], [{"v": b}, {"v": None}]], "tags": [["x", "y"], [], None]}


def arrow(name, t, a, b):
    cols = values(a, b)
    types = {"v": t, "l": pa.list_(t), "ll": pa.list_(pa.list_(t)), "s": pa.struct([("v", t)]), "ls": pa.list_(pa.struct([("v", t)])), "tags": pa.list_(pa.string())}
    arrays = {k: pa.array(cols[k], types[k]) for k in cols}
    fields = [pa.field(k, types[k]) for k in cols]
    if not pa.types.is_dictionary(t):  # pyarrow writes no maps of them
        arrays["m"] = pa.array([[("k", a), ("n", None)], [], None], pa.map_(pa.string(), t))
        fields.append(pa.field("m", arrays["m"].type))
    if name != "null":
        arrays["r"] = pa.array([a, a, b], t)
        fields.append(pa.field("r", t, nullable=False))
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(list(arrays.values()), schema=pa.schema(fields)), out, use_deprecated_int96_timestamps=name == "int96", store_decimal_as_integer=name.endswith("i"),
                   data_page_version="2.0" if name == "page2" else "1.0", use_dictionary=name != "plain", use_compliant_nested_type=name not in ("int16", "ts_ms"), compression="zstd", write_statistics=False)
    return out.getvalue()


def file(write):
    with tempfile.TemporaryDirectory() as d:
        write(os.path.join(d, "x"))
        return open(os.path.join(d, "x"), "rb").read()


def duck(t, a, b):
    a, b, n = (f"CAST({x} AS {t})" for x in (a, b, "NULL"))
    row = lambda v, l, m, s, tags: f"({v}, {l}, {m}, {s}, {tags})"
    sql = "SELECT * FROM (VALUES " + ", ".join([
        row(a, f"[{a}, NULL]", f"MAP {{'k': {a}, 'n': NULL}}", f"{{'v': {a}}}", "['x', 'y']"),
        row(n, f"CAST([] AS {t}[])", f"CAST(MAP {{}} AS MAP(VARCHAR, {t}))", f"{{'v': {n}}}", "[]::VARCHAR[]"),
        row(b, "NULL", "NULL", "NULL", "NULL")]) + ") AS x(v, l, m, s, tags)"
    return file(lambda path: duckdb.sql(f"COPY ({sql}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)"))


def polars(t, a, b):
    types = {"v": t, "l": pl.List(t), "ll": pl.List(pl.List(t)), "s": pl.Struct({"v": t}), "ls": pl.List(pl.Struct({"v": t})), "tags": pl.List(pl.String)}
    if t == pl.Null:
        types = {k: types[k] for k in ("v", "s", "tags")}
    frame = pl.DataFrame({k: v for k, v in values(a, b).items() if k in types}, schema=types)
    return file(lambda path: frame.write_parquet(path, statistics=False))


with zipfile.ZipFile(os.path.join(os.path.dirname(os.path.abspath(__file__)), "types.zip"), "w", zipfile.ZIP_DEFLATED) as z:
    def add(name, data):
        z.writestr(zipfile.ZipInfo(name + ".parquet"), data, zipfile.ZIP_DEFLATED)
    for name, (t, a, b) in ARROW.items():
        add("pyarrow/" + name, arrow(name, t, a, b))
    for name, (t, a, b) in DUCK.items():
        add("duckdb/" + name, duck(t, a, b))
    for name, (t, a, b) in POLARS.items():
        add("polars/" + name, polars(t, a, b))
