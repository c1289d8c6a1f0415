"""Reads answers.json and finds the TLS policy of each plan by itself. Needs Python 3 alone."""

import json
import pathlib
import re
import sys

TLS12 = " protocols=>=TLSv1.2"
MOST = 99_000  # octets of a policy; Postfix reads 100,000 with what is around it
REASONS = ["mixed", "insecure-mx", "both", "lookup-failed", "pin", "floor", "no-resolver"]
LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"


def demand(host, plan):
    """What the plan demands of a session with a host, in one word."""
    level, by, names = host["level"], host["decided_by"], host.get("certificate", [])
    if level == "refused":
        return "refused" if by else "unreachable"
    if level == "opportunistic":
        return "nothing"
    if level == "encrypted":
        return "tls-by-dane" if by == ["dane"] else "tls"
    if host.get("tlsa"):
        return "both" if names else "pin" if host.get("dane_off") else "dane"
    return "name" if names == [host["name"]] else "next-hop"


def is_host(name):
    """Whether Postfix takes a name in match= for a host."""
    return len(name) <= 253 and "." in name and all(re.fullmatch(LABEL, l) for l in name.split(".")) and not name.split(".")[-1].isdigit()


def digests(host):
    """The digests of a host that has DANE-EE records with SHA2-256 alone; otherwise none."""
    records = [record.split() for record in host.get("tlsa", [])]
    if all(usage == "3" and matching == "1" and len(data) == 64 for usage, _, matching, data in records):
        return [data for *_, data in records]
    return []


def matches(pattern, name):
    """RFC 8461 section 4.1."""
    if pattern.startswith("*."):
        return name.lower().partition(".")[2] == pattern[2:].lower()
    return name.lower() == pattern.lower()


class Table:
    """The policies that a client may get for a plan, and what they mean for its hosts."""

    def __init__(self, plan, client):
        self.plan, self.client, self.program = plan, client, client["program"]
        self.hosts = plan["hosts"]
        self.demands = {host["name"]: demand(host, plan) for host in self.hosts}
        self.usable = [h for h in self.hosts if self.of(h) not in ("refused", "unreachable")]
        self.policy = plan.get("mta_sts")

    def of(self, host):
        return self.demands[host["name"]]

    def insecure_both(self, host):
        """DANE and MTA-STS at an insecure MX: RFC 7672 section 2.2.1 leaves DANE to the sender."""
        return self.of(host) == "both" and not self.plan["secure_mx"] and "mta-sts" in host["decided_by"] and not host.get("dane_off")

    def serves(self, level, host):
        """True: mail goes to the host, and needs what the plan demands. False: none goes there. None: it
        may go there with less."""
        need = self.of(host)
        off = need == "refused" and host.get("dane_off")
        if level in ("notfound", "encrypt"):
            fine = ("nothing", "unreachable") + (("tls", "tls-by-dane") if level == "encrypt" else ())
            return True if need in fine else None
        if level == "dane-only":
            return True if need == "dane" else None if need in ("pin", "both") or off else False
        if level == "dane":
            if need == "refused" and host.get("lookup_failed"):
                return False
            return True if need in ("dane", "tls-by-dane", "nothing", "unreachable") else None
        if level == "secure-next-hop":
            return True if need == "next-hop" else False if need in ("nothing", "tls-by-dane", "tls", "unreachable") else None
        return host in self.chosen[level]

    def candidates(self):
        """Levels, the preferred ones first. For those that name hosts or keys, the hosts are chosen."""
        mail, fingerprints = self.program != "sendmail", self.client.get("fingerprints")
        defer = self.client.get("defer_insecure_mx")
        self.chosen = {
            "secure": [h for h in self.usable if is_host(h["name"]) and (self.of(h) == "name" or self.insecure_both(h) and not defer)],
            "pins": [h for h in self.usable if self.of(h) == "pin" and digests(h)],
            "keys": [h for h in self.usable if fingerprints and self.of(h) == "dane" and digests(h)],
        }
        first = self.chosen["pins"][:1]
        self.chosen["pins"] = [h for h in self.chosen["pins"] if digests(h) == digests(first[0])]
        yield "notfound"
        if not fingerprints and mail and self.plan["secure_mx"]:
            yield "dane-only"
        if not fingerprints:
            yield "dane"
        for level in ("secure", "pins", "keys"):
            if self.chosen[level] and (mail or level == "secure"):
                yield level
        if is_host(self.plan["next_hop"]):
            yield "secure-next-hop"
        if mail:
            yield "encrypt"

    def suits_omitted(self, level):
        """Whether a level is safe for hosts that the plan leaves out and the client finds."""
        if level == "dane":
            return any(self.of(h) == "nothing" for h in self.usable)
        return level not in ("notfound", "encrypt", "secure-next-hop")

    def choose(self):
        """The level that serves all hosts, or one of the best preference, or any; and whom it leaves out."""
        best = (-1, None, self.usable)
        for level in self.candidates():
            served = [self.serves(level, host) for host in self.hosts]
            if None in served or self.plan.get("omitted") and not self.suits_omitted(level):
                continue
            out = [h for h, is_served in zip(self.hosts, served) if h in self.usable and not is_served]
            if len(out) == len(self.usable):
                continue
            first = any(h not in out for h in self.usable if h["preference"] == self.usable[0]["preference"])
            rank = 2 if not out else 1 if first else 0
            if rank > best[0]:
                best = (rank, level, out)
        return best[1:]

    def attributes(self, patterns, most):
        """What Postfix needs for its reports; the lines of the policy only if there is room."""
        if not is_host(self.plan["next_hop"]) or not all(is_host(p.removeprefix("*.")) for p in patterns):
            return ""
        text = f" policy_type=sts policy_domain={self.plan['next_hop']}" + "".join(f" mx_host_pattern={p}" for p in patterns)
        lines = "".join(f" {{ policy_string = {line} }}" for line in self.policy["lines"] if line.strip() and re.fullmatch(r"[ -z|~]*", line))
        if len(text) > most:
            return ""
        return text + lines if len(text + lines) <= most else text

    def testing_reports(self):
        wanted = self.client.get("testing_reports") and self.program == "postfix-tlsrpt" and not self.client.get("fingerprints")
        if not wanted or not self.policy or self.policy["mode"] != "testing":
            return ""
        return self.attributes(self.policy["mx"], MOST)

    def secure(self, names):
        return "secure match=" + ":".join(names) + " servername=hostname" + ("" if self.program == "sendmail" else TLS12)

    def write(self, level):
        if level == "notfound":
            return "dane" + self.testing_reports() if self.testing_reports() else None
        if level == "dane":
            return "dane" + self.testing_reports()
        if level in ("pins", "keys"):
            found = sorted({d for h in self.chosen[level] for d in digests(h)})
            return "fingerprint match=" + "|".join(":".join(re.findall("..", d)) for d in found) + " servername=hostname" + TLS12
        if level == "secure-next-hop":
            return self.secure([self.plan["next_hop"]])
        if level == "secure":
            served = self.chosen["secure"]
            names = [h["name"] for h in served]
            text = self.secure(names)
            if self.program == "postfix-tlsrpt" and self.policy and self.policy["mode"] == "enforce" and any("mta-sts" in h["decided_by"] for h in served):
                other = any(h not in served and any(matches(p, h["name"]) for p in self.policy["mx"]) for h in self.hosts)
                text += self.attributes(names if other else self.policy["mx"], MOST - len(text))
            return text
        return level + TLS12

    def lost(self, level, out):
        hosts = {reason: [] for reason in REASONS}
        for host in out:
            need = self.of(host)
            no_resolver = need == "dane" and self.client.get("fingerprints") and not digests(host)
            reason = "insecure-mx" if self.insecure_both(host) else {"both": "both", "pin": "pin", "tls": "floor"}.get(need, "no-resolver" if no_resolver else "mixed")
            hosts[reason].append(host["name"])
        if level == "secure":
            hosts["insecure-mx"] += [h["name"] for h in self.chosen["secure"] if self.insecure_both(h)]
        if level in (None, "secure", "pins", "keys"):
            hosts["lookup-failed"] += [h["name"] for h in self.hosts if h.get("lookup_failed")]
        return [{"reason": reason, "hosts": names} for reason, names in hosts.items() if names]


def answer(case):
    if "error" in case:
        return unknown([case.get("floor")], case["client"]) if case["error"] == "permanent" else {"status": "temp"}
    plan, client = case["plan"], case["client"]
    if plan.get("via", "") != client.get("via", ""):
        return {"status": "temp"}
    table = Table(plan, client)
    if not table.usable:
        by_policy = any(table.of(h) == "refused" for h in table.hosts)
        if table.hosts and plan.get("permanent") and not by_policy:
            return unknown([h.get("floor") for h in table.hosts], client)
        return {"status": "temp"}
    level, out = table.choose()
    if level is None:
        return with_losses({"status": "temp"}, table.lost(None, [h for h in table.usable if table.of(h) != "nothing"]))
    text = table.write(level)
    found = {"status": "notfound"} if text is None else {"status": "temp"} if len(text) > MOST else {"status": "found", "policy": text}
    if level == "secure" and any(table.insecure_both(h) for h in table.chosen["secure"]):
        found["weaker"] = True
    return with_losses(found, table.lost(level, out))


def unknown(floors, client):
    """The answer for a client that knows hosts which the plan does not have."""
    if not any(floors):
        return {"status": "notfound"}
    if "authenticated" not in floors and client["program"] != "sendmail":
        return {"status": "found", "policy": "encrypt protocols=>=TLSv1.2"}
    return {"status": "temp"}


def with_losses(found, losses):
    return found | {"lost": losses} if losses else found


def main():
    cases = json.loads((pathlib.Path(__file__).parent / "answers.json").read_text(encoding="utf-8"))
    wrong = 0
    for case in cases:
        got = answer(case)
        if got != case["answer"]:
            wrong += 1
            print(f"{case['what']}: {got}, want {case['answer']}")
    print(f"{len(cases)} answers, {wrong} differ")
    sys.exit(1 if wrong or not cases else 0)


if __name__ == "__main__":
    main()
