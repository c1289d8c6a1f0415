"""Reads reports.json and finds the results by itself. Needs Python 3 alone."""

import base64
import datetime
import email
import email.policy
import ipaddress
import json
import pathlib
import re
import sys
import zlib

RESULTS = """starttls-not-supported certificate-host-mismatch certificate-expired certificate-not-trusted validation-failure
tlsa-invalid dnssec-invalid dane-required sts-policy-fetch-error sts-policy-invalid sts-webpki-invalid""".split()
TYPES = ["tlsa", "sts", "no-policy-found"]
MAX_COUNT = 2**53 - 1
UTC = datetime.timezone.utc
NAME = r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"


class Invalid(Exception):
    """It is not a report."""


class NoReport(Exception):
    """It is a mail without a report."""


# The form: JSON, gzip, base64 and mail in each other.


def gunzip(data):
    text = b""
    while data.startswith(b"\x1f\x8b"):  # members; what follows the last one is padding
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            text += member.decompress(data) + member.flush()
        except zlib.error as error:
            raise Invalid(error) from error
        if not member.eof:
            raise Invalid("cut off")
        data = member.unused_data
    return text


def unbase64(data):
    digits = re.sub(rb"[^A-Za-z0-9+/]", b"", data.split(b"=")[0])
    return base64.b64decode(digits[: len(digits) - (len(digits) % 4 == 1)] + b"==")


def unpack(data):
    """What is in gzip and base64; None if it is neither these nor JSON."""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8")):
        if data.startswith(mark):
            data = data[len(mark):].decode(encoding).encode()
    if data.lstrip(b" \t\r\n").startswith(b"{"):
        return data
    if data.lstrip(b" \t\r\n").startswith(b"H4sI"):  # the first octets of gzip
        data = unbase64(data)
    if data.startswith(b"\x1f\x8b"):
        text = gunzip(data)
        return text if unpack(text) is None else unpack(text)
    return None


def parts(message):
    """The parts of a mail, and of those in it, with their types and octets."""
    for part in message.walk():
        if part.get_content_maintype() not in ("multipart", "message"):
            yield part.get_content_type(), part.get_payload(decode=True) or b""


def open_mail(data):
    if data.startswith(b"From "):  # an mbox
        data = data.partition(b"\n")[2]
    if not re.match(rb"[A-Za-z0-9-]+:", data):
        raise Invalid("neither JSON nor gzip nor a mail")
    inline = []
    for kind, content in parts(email.message_from_bytes(data, policy=email.policy.SMTP)):
        called = kind.startswith("application/tlsrpt")
        text = unpack(content)
        if text is None and called:
            raise Invalid("called a report")
        if text is not None and (called or b'"policies"' in text):
            if not kind.startswith("text/"):
                return text
            inline.append(text)
    if not inline:
        raise NoReport
    return inline[0]


def members(pairs):
    """An object whose names are there once each, in whatever case."""
    folded = [name.lower() for name, _ in pairs]
    if len(set(folded)) != len(folded):
        raise Invalid("a name is there twice")
    return dict(pairs)


class Number(str):
    """The text of a number."""


def parse(received):
    text = unpack(received)
    if text is None:
        text = open_mail(received)
    decoder = json.JSONDecoder(object_pairs_hook=members, parse_int=Number, parse_float=Number, parse_constant=Number)
    try:
        text = text.decode("utf-8").strip(" \t\r\n\0")
        value, end = decoder.raw_decode(text)
    except ValueError as error:
        raise Invalid(error) from error
    if text[end:].strip():
        raise Invalid("something behind it")
    return value


# The content, as senders write it.


def string(value):
    """A text; a number and true are read as they are written, null and nothing as empty."""
    if isinstance(value, (dict, list)):
        raise Invalid("no text")
    return {None: "", True: "true", False: "false"}.get(value, value).strip() if not isinstance(value, str) else value.strip()


def strict(value):
    if value is not None and (not isinstance(value, str) or isinstance(value, Number)):
        raise Invalid("no text")
    return value or ""


def listed(value):
    """An array, or its only element."""
    return value if isinstance(value, list) else [] if value is None else [value]


def mapping(value):
    if value is not None and not isinstance(value, dict):
        raise Invalid("no object")
    return value or {}


def count(value):
    if isinstance(value, (dict, list, bool)):
        raise Invalid("no count")
    text = (value or "").strip()
    if not text:
        return 0
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text):
        raise Invalid("no count")
    n = int(text) if text.isdigit() else float(text)
    if n > MAX_COUNT or n != int(n):
        raise Invalid("no count")
    return int(n)


DATE, CLOCK = r"(\d{4})-?(\d\d)-?(\d\d)", r"(\d\d):?(\d\d)(?::?(\d\d)(?:\.(\d+))?)?"
ZONE = r"(Z|[+-]\d\d:?\d\d)?"
MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()


def offset(zone):
    if zone in (None, "", "Z"):
        return datetime.timedelta()
    digits = zone[1:].replace(":", "")
    return (1 if zone[0] == "+" else -1) * datetime.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))


def moment(value):
    """A time in one of the forms of ISO 8601 and mail, or in seconds or milliseconds since 1970. UTC
    is the default."""
    if isinstance(value, (dict, list)):
        raise Invalid("no time")
    text = re.sub(r" (UTC|GMT)$", "", string(value).upper())
    iso = re.fullmatch(rf"{DATE}(?:[T ]{CLOCK} ?{ZONE})?", text)
    mail = re.fullmatch(rf"(?:[A-Z]{{3}}, )?(\d\d?) ([A-Z]{{3}}) (\d{{4}}) (\d\d):(\d\d):(\d\d) ?([+-]\d{{4}})?", text)
    ctime = re.fullmatch(r"[A-Z]{3} ([A-Z]{3}) +(\d\d?) (\d\d):(\d\d):(\d\d) (\d{4})", text)
    try:
        if iso:
            year, month, day, hour, minute, second, fraction, zone = iso.groups()
            over = hour == "24" and minute == second == "00"
            at = datetime.datetime(int(year), int(month), int(day), 0 if over else int(hour or 0), int(minute or 0), int(second or 0))
            at += datetime.timedelta(days=over, seconds=float("0." + (fraction or "0"))) - offset(zone)
        elif mail:
            day, month, year, hour, minute, second, zone = mail.groups()
            at = datetime.datetime(int(year), MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second)) - offset(zone)
        elif ctime:
            month, day, hour, minute, second, year = ctime.groups()
            at = datetime.datetime(int(year), MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second))
        else:
            n = float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?(E[0-9]+)?", text) else -1
            if not 0 <= n < 1e13:
                raise Invalid("no time")
            at = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=n if n < 1e11 else n / 1000)
    except ValueError as error:
        raise Invalid(error) from error
    if at.year < 2000:
        raise Invalid("no time")
    fraction = f"{at.microsecond / 1e6:.6f}"[1:].rstrip("0").rstrip(".")
    return at.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def address(value):
    try:
        found = ipaddress.ip_address(strict(value).strip("[] ").partition("%")[0])
    except ValueError:
        return ""
    return str(getattr(found, "ipv4_mapped", None) or found)


def registered(name, names):
    spelled = name.strip().lower().replace("_", "-")
    return spelled if spelled in names else name


def uri(text):
    """The octets that a URI must not have are encoded."""
    return "".join(c if "!" <= c <= "~" and c not in '"<>\\^`{|}' else "".join(f"%{o:02X}" for o in c.encode()) for c in text)


def present(**fields):
    return {name.replace("_", "-"): value for name, value in fields.items() if value}


def detail(value):
    value = mapping(value)
    info = strict(value.get("additional-information")) or strict(value.get("additional-info-uri"))
    reason = value.get("failure-reason-code")
    return {
        "result-type": registered(strict(value.get("result-type")), RESULTS),
        "failed-session-count": count(value.get("failed-session-count")),
    } | present(
        sending_mta_ip=address(value.get("sending-mta-ip")), receiving_mx_hostname=strict(value.get("receiving-mx-hostname")).strip(),
        receiving_mx_helo=strict(value.get("receiving-mx-helo")).strip(), receiving_ip=address(value.get("receiving-ip")),
        additional_information=uri(info), failure_reason_code=string(value.get("failure-error-code") if reason in (None, "") else reason),
    )


def result(value):
    value = mapping(value)
    policy, summary = mapping(value.get("policy")), mapping(value.get("summary"))
    kind = registered(strict(policy.get("policy-type")), TYPES)
    lines = [strict(line) for line in listed(policy.get("policy-string"))]
    read = {"policy-type": kind, "policy-domain": strict(policy.get("policy-domain")).strip()}
    if lines or kind == "tlsa":
        read["policy-string"] = lines
    read |= present(mx_host=[strict(host) for host in listed(policy.get("mx-host"))])
    return {
        "policy": read,
        "summary": {name: count(summary.get(name)) for name in ("total-successful-session-count", "total-failure-session-count")},
    } | present(failure_details=[detail(d) for d in listed(value.get("failure-details"))])


def report(value):
    """What can be read of a report; Invalid if it makes no sense."""
    policies, dates = value.get("policies"), mapping(value.get("date-range"))
    if not isinstance(policies, list):
        raise Invalid("no policies")
    read = {name: string(value.get(name)) for name in ("organization-name", "contact-info", "report-id")}
    start, end = moment(dates.get("start-datetime")), moment(dates.get("end-datetime"))
    if end < start:
        raise Invalid("ends before it starts")
    return read | {"date-range": {"start-datetime": start, "end-datetime": end}, "policies": [result(p) for p in policies]}


# The content, as RFC 8460 section 4.4 demands it.


def is_text(value):
    return isinstance(value, str) and not isinstance(value, Number) and value == value.strip() != ""


def is_count(value, least=0):
    return isinstance(value, Number) and value.isdigit() and least <= int(value) <= MAX_COUNT


def are(values, check):
    return isinstance(values, list) and all(check(v) for v in values)


def optional(value, name, check):
    return name not in value or check(value[name])


def conforms_detail(value, successes, failures):
    if str(value.get("result-type")).startswith("sts-"):
        failures += successes  # the sender may remember a policy, and the session meet it
    return (
        value.get("result-type") in RESULTS and is_count(value.get("failed-session-count"), 1) and int(value["failed-session-count"]) <= failures
        and all(optional(value, name, is_text) for name in ("receiving-mx-hostname", "receiving-mx-helo", "failure-reason-code"))
        and all(optional(value, name, lambda v: is_text(v) and address(v) == v) for name in ("sending-mta-ip", "receiving-ip"))
        and optional(value, "additional-information", lambda v: is_text(v) and uri(v) == v and re.match("[A-Za-z][A-Za-z0-9+.-]*:", v))
    )


def conforms_result(value):
    policy, summary = value.get("policy"), value.get("summary")
    if not isinstance(policy, dict) or not isinstance(summary, dict):
        return False
    kind, lines, hosts = policy.get("policy-type"), policy.get("policy-string", []), policy.get("mx-host", [])
    successes, failures = summary.get("total-successful-session-count"), summary.get("total-failure-session-count")
    return (
        kind in TYPES and is_text(policy.get("policy-domain")) and re.fullmatch(NAME, policy["policy-domain"]) is not None
        and are(lines, lambda v: isinstance(v, str)) and not (kind == "no-policy-found" and lines) and not (kind == "tlsa" and "policy-string" not in policy)
        and are(hosts, lambda v: is_text(v) and re.fullmatch(NAME, v.removeprefix("*.")) is not None) and not (kind != "sts" and hosts)
        and is_count(successes) and is_count(failures)
        and are(value.get("failure-details", []), lambda d: isinstance(d, dict) and conforms_detail(d, int(successes), int(failures)))
    )


def conforms(value):
    dates, contact = value.get("date-range"), value.get("contact-info")
    internet = r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)"  # RFC 3339 section 5.6
    times = [dates.get("start-datetime"), dates.get("end-datetime")]
    return (
        is_text(value.get("organization-name")) and is_text(value.get("report-id"))
        and is_text(contact) and re.fullmatch(rf"{ATOM}(\.{ATOM})*@{NAME}", contact) is not None
        and all(is_text(t) and re.fullmatch(internet, t) and "T24" not in t for t in times) and moment(times[0]) < moment(times[1])
        and value["policies"] != [] and are(value["policies"], lambda p: isinstance(p, dict) and conforms_result(p))
        and not {"additional-info-uri", "failure-error-code"} & set(json.dumps(value).split('"'))  # of drafts
    )


def read(case):
    received = case["text"].encode() if "text" in case else base64.b64decode(case.get("base64", ""))
    try:
        value = parse(received)
        found = report(value)
    except NoReport:
        return "no-report", None
    except Invalid:
        return "invalid", None
    return "ok" if conforms(value) else "repaired", found


def main():
    cases = json.loads((pathlib.Path(__file__).parent / "reports.json").read_text(encoding="utf-8"))
    wrong = 0
    for case in cases:
        got, want = read(case), (case["result"], case.get("report"))
        if got != want:
            wrong += 1
            print(f"{case['what']}: {got}, want {want}")
    print(f"{len(cases)} reports, {wrong} differ")
    sys.exit(1 if wrong or not cases else 0)


if __name__ == "__main__":
    main()
