"""Reads sessions.json and sums the sessions up by itself. Needs Python 3 alone."""

import collections
import datetime
import ipaddress
import json
import pathlib
import re
import sys

RESULTS = """starttls-not-supported certificate-host-mismatch certificate-expired certificate-not-trusted validation-failure
tlsa-invalid dnssec-invalid dane-required sts-policy-fetch-error sts-policy-invalid sts-webpki-invalid""".split()
LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"


def domain(name):
    """A domain in A-labels, lower case and without final dot; None if it is none."""
    try:
        name = name.removesuffix(".").encode("ascii" if name.isascii() else "idna").decode().lower()
    except UnicodeError:
        return None
    labels = name.split(".")
    if len(name) > 253 or not all(re.fullmatch(LABEL, label) for label in labels) or labels[-1].isdigit():
        return None
    return name


def patterns(listed):
    for pattern in listed:
        name = domain(pattern.removeprefix("*."))
        if name:
            yield ("*." if pattern.startswith("*.") else "") + name


def policy(outcome, recipient):
    """The policy of an outcome as JSON text, which tells policies apart."""
    kind, lines, hosts = outcome["policy_type"], outcome.get("policy_string", []), []
    if kind == "tlsa":
        lines = sorted(lines)  # DNS has no order
    elif kind == "sts":
        hosts = list(patterns(outcome.get("mx_host", [])))
    else:
        kind, lines = "no-policy-found", []
    shown = {"policy-type": kind, "policy-domain": domain(outcome["policy_domain"]) or recipient}
    if lines or kind == "tlsa":
        shown["policy-string"] = lines
    if hosts:
        shown["mx-host"] = hosts
    return json.dumps(shown)


def printable(text, most=255):
    """Text that a mail host chose, in printable US-ASCII."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:most].strip(" ")


def address(text):
    if not text:
        return ""
    found = ipaddress.ip_address(text.partition("%")[0])
    return str(getattr(found, "ipv4_mapped", None) or found)


def detail(session, failure):
    """A failure as JSON text. The search for a policy has no mail host."""
    kind = failure["type"] if failure["type"] in RESULTS else "validation-failure"
    shown = {"result-type": kind}
    if not kind.startswith("sts-"):
        host = session.get("mx_host", "")
        shown |= {
            "sending-mta-ip": address(session.get("sending_ip")), "receiving-mx-hostname": domain(host) or printable(host),
            "receiving-mx-helo": printable(session.get("helo", "")), "receiving-ip": address(session.get("receiving_ip")),
        }
    shown["failure-reason-code"] = printable(failure.get("reason", ""))
    return json.dumps({name: value for name, value in shown.items() if value})


def reports(sessions):
    """By domain and date: by policy, successes, failures, and sessions by detail."""
    sums = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0, collections.Counter()]))
    for session in sessions:
        recipient = domain(session["domain"])
        if session.get("carries_report") or not recipient:  # RFC 8460 section 3
            continue
        at = datetime.datetime.fromisoformat(session["time"].replace("Z", "+00:00"))
        date = at.astimezone(datetime.timezone.utc).date().isoformat()
        for outcome in session["outcomes"]:
            failures = {detail(session, failure) for failure in outcome.get("failures", [])}
            counted = sums[recipient, date][policy(outcome, recipient)]
            met = outcome.get("met") and all(failure["type"].startswith("sts-") for failure in outcome["failures"])
            counted[1 if failures and not met else 0] += 1
            counted[2].update(failures)
    return sums


def as_written(day):
    """The same of a report."""
    by_policy = {}
    for result in day["policies"]:
        details = {}
        for shown in result.get("failure-details", []):
            count = shown.pop("failed-session-count")
            details[canonical(shown)] = count
        summary = result["summary"]
        by_policy[canonical(result["policy"])] = [summary["total-successful-session-count"], summary["total-failure-session-count"], details]
    return by_policy


def canonical(value):
    return json.dumps(value, sort_keys=True)


def main():
    cases = json.loads((pathlib.Path(__file__).parent / "sessions.json").read_text(encoding="utf-8"))
    wrong = 0
    for case in cases:
        want = {(day["domain"], day["date"]): as_written(day) for day in case["reports"]}
        got = {
            day: {canonical(json.loads(p)): [s, f, {canonical(json.loads(d)): n for d, n in details.items()}] for p, (s, f, details) in policies.items()}
            for day, policies in reports(case["sessions"]).items()
        }
        if got != want:
            wrong += 1
            print(f"{case['what']}: {got}, want {want}")
    print(f"{len(cases)} sums, {wrong} differ")
    sys.exit(1 if wrong or not cases else 0)


if __name__ == "__main__":
    main()
