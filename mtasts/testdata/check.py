"""Reads records.json, policies.json and matches.json, and finds the results by itself. Needs Python 3 alone."""

import json
import pathlib
import re
import sys

WSP = "[ \t]*"
LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
MAX_AGE = 31557600


def is_name(name):
    return len(name) <= 253 and all(LABEL.fullmatch(label) for label in name.split("."))


def record(txts):
    """RFC 8461 section 3.1."""
    found = [t for t in txts if re.match(rf"v=STSv1{WSP};", t)]
    if not found:
        return "none", ""
    if len(found) > 1:
        return "invalid", ""
    fields = found[0].split(";")[1:]
    if fields[-1].strip(" \t") == "":
        fields.pop()
    known = ""
    for field in fields:
        name, _, value = field.strip(" \t").partition("=")
        if name == "id" and not known:
            if not re.fullmatch("[A-Za-z0-9]{1,32}", value):
                return "invalid", ""
            known = value
        elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", name) or not re.fullmatch(r"[!-:<>-~]+", value):
            return "invalid", ""
    return ("ok", known) if known else ("invalid", "")


def policy(text):
    """RFC 8461 section 3.2. None means that the policy is not valid."""
    lines = [line.rstrip(" \t") for line in re.split(r"\r?\n", text)]
    while len(lines) > 1 and lines[-1] == "":
        lines.pop()
    fields, patterns = {}, []
    for line in lines:
        match = re.fullmatch(rf"([A-Za-z0-9][A-Za-z0-9_.-]{{0,31}}):{WSP}([^\x00-\x1f\x7f]*)", line)
        if not match:
            return None
        name, value = match.groups()
        if not value and name not in ("version", "mode", "max_age"):
            return None
        if name == "mx":
            if not is_name(value.removeprefix("*.")):
                return None
            patterns.append(value)
        else:
            fields.setdefault(name, value)
    if fields.get("version") != "STSv1" or fields.get("mode") not in ("enforce", "testing", "none"):
        return None
    if not re.fullmatch("[0-9]+", fields.get("max_age", "")):  # more than ten digits mean the maximum
        return None
    if not patterns and fields["mode"] != "none":
        return None
    return {"mode": fields["mode"], "max_age": min(int(fields["max_age"]), MAX_AGE), "mx": patterns}


def matches(pattern, host):
    """RFC 8461 section 4.1."""
    host = host.removesuffix(".").lower()
    if not host.isascii() or not is_name(host.replace("_", "a")):  # hosts may have underscores
        return False
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:].lower()
    return host == pattern.lower()


def load(name):
    return json.loads((pathlib.Path(__file__).parent / name).read_text(encoding="utf-8"))


def main():
    total, wrong = 0, 0

    def compare(case, got, want):
        nonlocal total, wrong
        total += 1
        if got != want:
            wrong += 1
            print(f"{case}: {got}, want {want}")

    for case in load("records.json"):
        compare(case, record(case["txt"]), (case["result"], case.get("id", "")))
    for case in load("policies.json"):
        want = {"mode": case["mode"], "max_age": case.get("max_age", 0), "mx": case.get("mx", [])} if case["valid"] else None
        compare(case, policy(case["text"]), want)
    for case in load("matches.json"):
        compare(case, matches(case["pattern"], case["host"]), case["match"])
    print(f"{total} vectors, {wrong} differ")
    sys.exit(1 if wrong or not total else 0)


if __name__ == "__main__":
    main()
