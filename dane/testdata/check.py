"""Reads chains.json and checks all that needs no signatures. Needs Python 3 alone.

It finds out which records are usable, which digests count, and which certificate each record
matches. It does not verify the signatures and dates of a chain to a trust anchor.
"""

import base64
import hashlib
import json
import pathlib
import sys


def element(der, at):
    """Returns where the content of a DER element begins, and where it ends."""
    length, start = der[at + 1], at + 2
    if length >= 0x80:
        start += length - 0x80
        length = int.from_bytes(der[at + 2:start], "big")
    return start, start + length


def public_key(der):
    """The SubjectPublicKeyInfo of a certificate (RFC 5280 section 4.1)."""
    at, _ = element(der, element(der, 0)[0])
    for _ in range(6 if der[at] == 0xA0 else 5):  # version, serial, algorithm, issuer, validity, subject
        at = element(der, at)[1]
    return der[at:element(der, at)[1]]


def is_usable(record):
    usage, selector, matching, data = record
    if usage not in (2, 3) or selector > 1:
        return False
    if matching == 0:
        return len(data) > 2 and element(data, 0)[1] == len(data) and data[0] == 0x30
    return len(data) == {1: 32, 2: 64}.get(matching)


def selected(records):
    """Those that count (RFC 7671 section 9): usable, and of digests the strongest."""
    usable = [i for i, r in enumerate(records) if is_usable(r)]
    best = {}
    for i in usable:
        best[records[i][:2]] = max(best.get(records[i][:2], 0), records[i][2])
    return [i for i in usable if records[i][2] in (0, best[records[i][:2]])]


def matches(record, der):
    _, selector, matching, data = record
    part = public_key(der) if selector else der
    return data == (part, hashlib.sha256(part).digest(), hashlib.sha512(part).digest())[matching]


def check(case, certificates):
    """Returns what is wrong with the result of a case, or None."""
    records = []
    for text in case["records"]:
        usage, selector, matching, data = text.split()
        records.append((int(usage), int(selector), int(matching), bytes.fromhex(data)))
    chain = [certificates[name] for name in case["chain"]]
    count = selected(records)
    ends = [i for i in count if records[i][0] == 3 and matches(records[i], chain[0])]
    if ends:
        got = ("match", ends[0], 0)
        want = (case["result"], case["record"], case["depth"])
        return None if got == want else f"{got}, want {want}"
    anchors = [i for i in count if records[i][0] == 2]
    if case["result"] != "match":
        found = any(matches(records[i], der) for i in anchors for der in chain[1:])
        full = any(records[i][2] == 0 for i in anchors)
        if not found and not full and case["result"] != "tlsa-invalid":
            return f"nothing matches, and the result is {case['result']}"
        return None
    if case["record"] not in anchors or case["depth"] < 1:
        return f"record {case['record']} cannot match"
    record = records[case["record"]]
    if record[2] and not any(matches(record, der) for der in chain[1:]):
        return "no certificate matches"
    return None


def main():
    vectors = json.loads((pathlib.Path(__file__).parent / "chains.json").read_text())
    certificates = {name: base64.b64decode(text) for name, text in vectors["certificates"].items()}
    wrong = 0
    for case in vectors["cases"]:
        problem = check(case, certificates)
        if problem:
            wrong += 1
            print(f"{case['what']}, {[r[:30] for r in case['records']]}: {problem}")
    print(f"{len(vectors['cases'])} chains, {wrong} differ")
    sys.exit(1 if wrong or not vectors["cases"] else 0)


if __name__ == "__main__":
    main()
