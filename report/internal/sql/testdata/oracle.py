"""Reads statements, each with a zero byte behind it, and prints a line for each: "ok", or why the
parser of PostgreSQL refuses it. Needs `pip install pglast`."""
import sys

import pglast

for statement in sys.stdin.buffer.read().decode().split("\0")[:-1]:
    try:
        pglast.parse_sql(statement)
        print("ok")
    except Exception as e:  # pglast.parser.ParseError, and what it raises for odd texts
        print(" ".join(str(e).split()) or "refused")
