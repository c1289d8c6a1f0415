"""Reads records.json and finds the results by itself. Needs Python 3 alone."""

import json
import pathlib
import re
import sys
import urllib.parse

WSP = " \t"
EXTENSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[!-:<>-~]+")
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# Visible US-ASCII that RFC 3986 has, with percent signs only before two hexadecimal
# digits; a mark has to be encoded (RFC 8460 section 3).
URI = re.compile(r"(?:[A-Za-z0-9$&'()*+,\-./:;=?@_~#\[\]]|%[0-9A-Fa-f]{2})*")
AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~$&'()*+;=-]+)(?::[0-9]*)?")
MAX_ENDPOINTS = 8


def domain(name):
    """A domain in A-labels and lower case; None if it is none."""
    try:
        name = name.removesuffix(".").encode("ascii" if name.isascii() else "idna").decode().lower()
    except UnicodeError:
        return None
    labels = name.split(".")
    if len(name) > 253 or not all(re.fullmatch(LABEL, label) for label in labels) or labels[-1].isdigit():
        return None
    return name


def endpoint(uri):
    """The usable endpoint that a URI names, or None."""
    scheme, colon, rest = uri.partition(":")
    if not colon or len(uri) > 8000 or not URI.fullmatch(uri):
        return None
    rest = rest.partition("#")[0]
    if scheme.lower() == "mailto":  # header fields in it do not count
        try:
            address = urllib.parse.unquote(rest.partition("?")[0], errors="strict")
        except UnicodeError:
            return None
        local, at, host = address.rpartition("@")
        host = domain(host)
        if not at or not re.fullmatch(rf"{ATOM}(?:\.{ATOM})*", local) or not host or len(f"{local}@{host}") > 254:
            return None
        return {"mail": f"{local}@{host}"}
    if scheme.lower() == "https" and rest.startswith("//"):
        if not AUTHORITY.fullmatch(re.split("[/?]", rest[2:])[0]):  # nobody logs in
            return None
        return {"url": "https:" + rest}
    return None


def record(txts):
    """RFC 8460 section 3."""
    found = [txt for txt in txts if re.match(rf"v=TLSRPTv1[{WSP}]*;", txt)]
    if len(found) != 1:
        return ("invalid", []) if found else ("none", [])
    fields = found[0].split(";")[1:]
    if not fields[-1].strip(WSP):
        fields.pop()
    endpoints = []
    for field in (field.strip(WSP) for field in fields):
        if field.startswith("rua=") and field != "rua=":  # all of them count
            for uri in field[4:].split(","):
                usable = endpoint(uri.strip(WSP))
                if usable and usable not in endpoints:
                    endpoints.append(usable)
        elif not EXTENSION.fullmatch(field):
            return "invalid", []
    return ("ok", endpoints[:MAX_ENDPOINTS]) if endpoints else ("invalid", [])


def main():
    cases = json.loads((pathlib.Path(__file__).parent / "records.json").read_text(encoding="utf-8"))
    wrong = 0
    for case in cases:
        got, want = record(case["txt"]), (case["result"], case.get("endpoints", []))
        if got != want:
            wrong += 1
            print(f"{case}: {got}")
    print(f"{len(cases)} records, {wrong} differ")
    sys.exit(1 if wrong or not cases else 0)


if __name__ == "__main__":
    main()
