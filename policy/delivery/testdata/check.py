"""Reads conversations.json and has each conversation by itself, with servers that do what the
file says. What DNS makes of a domain is taken from the file ("plan"). Needs Python 3 alone."""

import json
import pathlib
import sys

TROUBLE = ("closes", "stalls", "garbles")
INCAPABLE = ("alert 40", "alert 70", "alert 71", "old TLS")  # handshake_failure, protocol_version, insufficient_security
CERTIFICATE_FAILURES = {"other name": "certificate-host-mismatch", "untrusted": "certificate-not-trusted", "expired": "certificate-expired"}


class Failed(Exception):
    """A host that cannot be used. permanent: another attempt fails as well, if all hosts say so."""

    def __init__(self, permanent=False):
        super().__init__()
        self.permanent = permanent


class Again(Exception):
    """Another connection with less TLS."""

    def __init__(self, to):
        super().__init__()
        self.to = to


class Attempt:
    """The sender's side of everything with one host."""

    def __init__(self, case, host, plan, heard, reports):
        self.case, self.message, self.host, self.server = case, case["message"], host, host["server"]
        self.mandatory = plan["level"] in ("encrypted", "authenticated")
        self.requires, self.plan = plan["requires"], plan
        self.heard, self.reports = heard, reports
        self.require_tls = self.message.get("require_tls", False) and self.message["from"] != ""
        self.connections = 0
        self.is_counted = False
        self.counted = None  # the failure of TLS on an earlier connection
        self.silent = False  # which was silence, and counts only if the host then takes mail

    # What a report says (RFC 8460 section 4.3).

    def policy(self):
        if self.message.get("tls_optional"):
            return None
        if self.host.get("tlsa"):
            return "tlsa"
        return "sts" if self.case.get("mta_sts") else "no-policy-found"

    def report(self, failure=None):
        """Counts the host, once: what went wrong first counts."""
        kind, failure = self.policy(), self.counted or failure
        if kind and not self.is_counted:
            self.is_counted = True
            self.reports.append({"host": self.host["name"], "policy": kind} | ({"failure": failure} if failure else {}))

    # One connection.

    def says(self, line):
        self.lines.append(line)

    def at(self, step):
        """What is special about a step; after " again" in the connections after the first."""
        at = self.server.get("at", {})
        return at.get(step + " again" if self.connections > 1 and step + " again" in at else step, "")

    def reply(self, step, usual):
        """The code and text of a reply, or what the server does instead."""
        reaction = self.at(step) or usual
        return (0, reaction) if reaction in TROUBLE else (int(reaction[:3]), reaction[4:])

    def leave(self, code, permanent=False):
        if code not in (0, 421):
            self.says("QUIT")
        raise Failed(permanent)

    def hello(self, inside, offered):
        suffix = " in TLS" if inside else ""
        self.says("EHLO sender.example")
        code, reaction = self.reply("EHLO" + suffix, "250 usual")
        if code // 100 == 2:
            return {line.split()[0].upper(): line for line in offered} if reaction == "usual" else {}
        if inside and not self.mandatory and reaction in ("closes", "stalls"):  # the server's verdict on TLS 1.3
            self.counted, self.silent = "validation-failure", reaction == "stalls"
            raise Again("clear")
        if inside:
            self.session()
        if code // 100 != 5 or self.mandatory:
            self.leave(code)
        self.says("HELO sender.example")
        code, _ = self.reply("HELO" + suffix, "250 usual")
        return {} if code // 100 == 2 else self.leave(code)

    def connect(self, tls):
        """A session: whether it has TLS, what the server offers, and whether TLS failed before."""
        if self.at("connection"):
            raise Failed
        self.lines, self.connections = [], self.connections + 1
        self.heard.append({"host": self.host["name"], "lines": self.lines})
        code, _ = self.reply("greeting", "220 usual")
        if code // 100 != 2:
            self.leave(code, permanent=code == 521 and not self.mandatory and tls == "new")
        offers = self.hello(False, self.server["offers"])
        if tls == "clear":
            self.report(self.counted)
            return False, offers, True
        if "STARTTLS" not in offers:
            self.report("starttls-not-supported")
            if self.mandatory:
                self.leave(250, permanent=self.require_tls)
            return False, offers, False
        self.says("STARTTLS")
        code, reaction = self.reply("STARTTLS", "220 usual")
        if code == 421:
            raise Failed
        if code and code != 220:
            self.report("starttls-not-supported")
            if self.mandatory:
                self.leave(code, permanent=self.require_tls and code >= 500)
            return False, offers, True
        if not code:
            self.failed_tls(reaction, "clear")
        self.handshake(self.at("handshake"), "old" if tls == "new" else "clear")
        self.says("TLS")
        offers = self.hello(True, self.server["offers_in_tls"])
        self.session()
        return True, offers, False

    def failed_tls(self, reaction, then, failure="validation-failure", permanent=False):
        if not self.mandatory:
            self.counted, self.silent = failure, reaction == "stalls"
            raise Again(then)
        if reaction != "stalls":
            self.report(failure)
        raise Failed(permanent and self.require_tls)

    def handshake(self, reaction, then):
        if reaction in TROUBLE or reaction.startswith("alert"):
            self.failed_tls(reaction, then, permanent=reaction in INCAPABLE)
        if self.mandatory and reaction == "old TLS":  # RFC 8461 section 7.2: TLS 1.2 at least
            self.failed_tls(reaction, then, permanent=True)
        kind = self.server["certificate"]
        if "dane" in self.requires and kind != self.host["tlsa"]:
            self.failed_tls("", then, "tlsa-invalid", permanent=True)
        if "web-pki" in self.requires and kind != "good":
            self.failed_tls("", then, self.verdict(CERTIFICATE_FAILURES[kind]), permanent=True)

    def verdict(self, failure):
        """Where no policy was found, none judges the certificate."""
        return failure if self.policy() == "sts" else None

    def session(self):
        """Counts an established session, once. A policy in testing mode judges it."""
        failure = None
        if self.case.get("mta_sts") == "testing":
            old = self.at("handshake") == "old TLS"
            failure = "validation-failure" if old else self.verdict(CERTIFICATE_FAILURES.get(self.server["certificate"]))
        self.report(failure)

    def open(self):
        tls = "new"
        while True:
            try:
                return self.connect(tls)
            except Again as again:
                tls = again.to
            except Failed:
                if self.counted and not self.silent:
                    self.report()
                raise

    # One transaction.

    def send(self, waiting, outcomes):
        """Tries to deliver to the recipients that wait, and leaves those that go to the next host."""
        in_tls, offers, fell_back = self.open()
        if self.require_tls and "REQUIRETLS" not in offers:
            self.leave(250, permanent=True)
        needs = Needs(self.message, offers)
        if needs.refused:
            self.says("QUIT")
            for to in list(waiting):
                outcomes[to] = "permanent"
                waiting.remove(to)
            return

        def is_final(code):
            return code // 100 == 5 and not fell_back and (in_tls or code != 530)

        todo = list(waiting)
        while todo:
            self.says(needs.mail)
            code, _ = self.reply("MAIL", "250 usual")
            if code // 100 != 2:
                return self.end(code, todo if is_final(code) else [], waiting, outcomes)
            accepted, later, left = [], [], False
            for to in todo:
                line = f"RCPT TO:<{to}>"
                self.says(line + needs.rcpt)
                code, text = self.reply(line if line in self.server.get("at", {}) else "RCPT", "250 usual")
                if code // 100 == 2:
                    accepted.append(to)
                elif code in (452, 552) and accepted and not text.startswith(("5.2.2 ", "5.3.4 ")) or code == 452 and accepted:
                    later.append(to)
                elif is_final(code):
                    outcomes[to] = "permanent"
                    waiting.remove(to)
                elif code in (0, 421):
                    left = True
                    break
            if left:
                return
            if not accepted:
                self.says("QUIT")
                return
            self.says("DATA")
            code, _ = self.reply("DATA", "354 usual")
            if code // 100 != 3:
                return self.end(code, accepted if is_final(code) else [], waiting, outcomes)
            self.says(".")
            code, _ = self.reply(".", "250 usual")
            outcome = "temporary"
            if code // 100 == 2:
                outcome = f"delivered by {self.host['name']}"
            elif code // 100 in (0, 3):
                outcome = "unknown"
            elif is_final(code):
                outcome = "permanent"
            for to in accepted:
                outcomes[to] = outcome
                waiting.remove(to)
            if code // 100 in (0, 3) or code == 421:
                return
            todo = later
        self.says("QUIT")

    def end(self, code, refused, waiting, outcomes):
        for to in refused:
            outcomes[to] = "permanent"
            waiting.remove(to)
        if code not in (0, 421):
            self.says("QUIT")


class Needs:
    """The commands of a message, by what it needs and what the server offers."""

    def __init__(self, message, offers):
        header, _, body = message["text"].partition("\r\n\r\n")
        size = len(message["text"].encode())
        international = not (header + message["from"] + "".join(message["to"])).isascii()
        limit = int((offers.get("SIZE", "").split() + ["0", "0"])[1])
        self.refused = (
            international and "SMTPUTF8" not in offers or not body.isascii() and "8BITMIME" not in offers or 0 < limit < size
        )
        self.mail = f"MAIL FROM:<{message['from']}>"
        self.rcpt = ""
        if "SIZE" in offers:
            self.mail += f" SIZE={size}"
        if "8BITMIME" in offers and not message["text"].isascii():
            self.mail += " BODY=8BITMIME"
        if international:
            self.mail += " SMTPUTF8"
        if message.get("require_tls") and "REQUIRETLS" in offers:
            self.mail += " REQUIRETLS"
        if "DSN" in offers:
            if message.get("ret") and message["from"]:
                self.mail += f" RET={message['ret']}"
            if message.get("envid"):
                self.mail += " ENVID=" + message["envid"].replace("+", "+2B").replace("=", "+3D")
            if message.get("notify"):
                self.rcpt = f" NOTIFY={message['notify']}"


def converse(case):
    heard, reports, outcomes, waiting = [], [], {}, list(case["message"]["to"])
    hopeless = True  # every host failed for good
    for host, plan in zip(case["hosts"], case["plan"]):
        if not waiting:
            break
        try:
            Attempt(case, host, plan, heard, reports).send(waiting, outcomes)
            hopeless = False
        except Failed as failed:
            hopeless = hopeless and failed.permanent
    for to in waiting:
        outcomes[to] = "permanent" if hopeless else "temporary"
    return {"heard": heard, "outcomes": outcomes, "reports": reports}


def main():
    cases = json.loads((pathlib.Path(__file__).parent / "conversations.json").read_text(encoding="utf-8"))
    wrong = 0
    for case in cases:
        got = converse(case)
        for part, value in got.items():
            if value != case[part]:
                wrong += 1
                print(f"{case['what']}: {part} {value}, want {case[part]}")
                break
    print(f"{len(cases)} conversations, {wrong} differ")
    sys.exit(1 if wrong or not cases else 0)


if __name__ == "__main__":
    main()
