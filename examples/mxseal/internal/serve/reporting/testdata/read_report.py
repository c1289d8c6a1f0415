# A second reader of reports by mail, strict where RFC 8460 says MUST, and written
# from its text alone. It verifies the DKIM signature with Debian's python3-dkim.
#
#   python3 read_report.py NAME RECORD <message
#
# NAME and RECORD are the DKIM record. It prints the report, or what is wrong.
import email.policy
import gzip
import json
import re
import sys

import dkim

RESULT_TYPES = {
    "starttls-not-supported", "certificate-host-mismatch", "certificate-expired",
    "certificate-not-trusted", "validation-failure", "tlsa-invalid", "dnssec-invalid",
    "dane-required", "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid",
}
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def must(condition, what):
    if not condition:
        sys.exit("not as RFC 8460 has it: " + what)


def only(obj, required, optional=()):
    must(isinstance(obj, dict), "an object, not %r" % (obj,))
    must(set(required) <= set(obj), "missing in %r" % obj)
    must(set(obj) <= set(required) | set(optional), "unknown in %r" % obj)


def strings(value):
    must(isinstance(value, list) and value and all(isinstance(s, str) for s in value), "an array of strings: %r" % (value,))


def count(value):
    must(type(value) is int and value >= 0, "a count: %r" % (value,))


def no_duplicates(pairs):
    must(len({name for name, _ in pairs}) == len(pairs), "a name twice")
    return dict(pairs)


def check_detail(detail, failures):
    only(detail, ["result-type", "failed-session-count"], [
        "sending-mta-ip", "receiving-mx-hostname", "receiving-mx-helo", "receiving-ip",
        "additional-information", "failure-reason-code"])
    must(detail["result-type"] in RESULT_TYPES, "result-type")
    count(detail["failed-session-count"])
    must(0 < detail["failed-session-count"] <= failures, "failed-session-count")
    must(all(v != "" for v in detail.values()), "an empty string")


def check_policy(entry):
    only(entry, ["policy", "summary"], ["failure-details"])
    policy, summary = entry["policy"], entry["summary"]
    only(policy, ["policy-type", "policy-domain"], ["policy-string", "mx-host"])
    must(policy["policy-type"] in ("tlsa", "sts", "no-policy-found"), "policy-type")
    must(policy["policy-domain"].isascii(), "policy-domain in A-labels")
    must("mx-host" not in policy or policy["policy-type"] == "sts", "mx-host")
    for name in ("policy-string", "mx-host"):
        if name in policy:
            strings(policy[name])
    only(summary, ["total-successful-session-count", "total-failure-session-count"])
    for value in summary.values():
        count(value)
    failures = summary["total-failure-session-count"]
    details = entry.get("failure-details", [])
    must(isinstance(details, list) and (details or failures == 0), "failure-details")
    for detail in details:
        check_detail(detail, failures)


def check_report(report):
    only(report, ["organization-name", "date-range", "contact-info", "report-id", "policies"])
    only(report["date-range"], ["start-datetime", "end-datetime"])
    must(all(DATE_TIME.fullmatch(t) for t in report["date-range"].values()), "date-range")
    must(isinstance(report["policies"], list) and report["policies"], "policies")
    for entry in report["policies"]:
        check_policy(entry)


def check_message(message, signature):
    must(message.get_content_type() == "multipart/report", "Content-Type")
    must(message.get_param("report-type") == "tlsrpt", "report-type")
    domain, submitter = message["TLS-Report-Domain"], message["TLS-Report-Submitter"]
    must(domain and submitter, "TLS-Report-Domain and TLS-Report-Submitter")
    subject = re.fullmatch(r"Report Domain: (\S+)\s+Submitter: (\S+)\s+Report-ID: <(\S+@\S+)>", message["Subject"])
    must(subject and subject.group(1) == domain and subject.group(2) == submitter, "Subject")
    must(b"l" not in signature, "l= in the signature")
    signed = [name.strip().lower() for name in signature[b"h"].split(b":")]
    must({b"tls-report-domain", b"tls-report-submitter", b"from"} <= set(signed), "h= of the signature")
    must(signature[b"d"].decode() == submitter, "d= of the signature")
    readable, attached = message.iter_parts()
    must(readable.get_content_type() == "text/plain", "the first part")
    must(attached.get_content_type() == "application/tlsrpt+gzip", "the second part")
    name = re.fullmatch(r"([^!]+)!([^!]+)!(\d+)!(\d+)(![A-Za-z0-9]+)?\.json\.gz", attached.get_filename())
    must(name and name.group(1) == submitter and name.group(2) == domain, "file name")
    report = json.loads(gzip.decompress(attached.get_content()), object_pairs_hook=no_duplicates)
    check_report(report)
    must(report["contact-info"].rpartition("@")[2] == submitter, "contact-info and submitter")
    must(report["report-id"] == subject.group(3), "report-id and Subject")
    return report


def main():
    name, record = (arg.encode() for arg in sys.argv[1:])
    text = sys.stdin.buffer.read()
    verifier = dkim.DKIM(text, tlsrpt="strict")
    if not verifier.verify(dnsfunc=lambda asked, timeout=5: record if asked == name else None):
        sys.exit("the DKIM signature is not good")
    message = email.message_from_bytes(text, policy=email.policy.default)
    json.dump(check_message(message, verifier.signature_fields), sys.stdout)


main()
