"""The promises of Millstream, and the figures that the tests have reached for each.

usage: promises.py collect RUN EVIDENCE      takes the lines "evidence Pn …" of a run, which is a JUnit
                                             file or what a program said, into EVIDENCE
       promises.py show EVIDENCE             prints the promises, their figures, and what was not run

A test prints such a line when it passes; what it says was so in that run. EVIDENCE keeps the newest
line of each kind, and when it was.
"""

import datetime
import json
import re
import sys

PROMISES = [
    ("P1", "No record lost, none counted twice, whatever dies"),
    ("P2", "The order of each key survives resharding"),
    ("P3", "You are told when Kinesis threw data away"),
    ("P4", "Two copies of one application cannot corrupt the output"),
    ("P5", "An unclear answer of the store never duplicates a commit"),
    ("P6", "A reader never sees half a result"),
    ("P7", "A replay gives the same answer"),
    ("P8", "Watermarks are never wrong by themselves"),
    ("P9", "No SQL text and no record can bring the server down"),
    ("P10", "Memory stays within what it was given"),
    ("P11", "Back within 30 seconds"),
    ("P12", "A running query is changed without guessing"),
    ("P13", "Data cannot become paths"),
    ("P14", "It copes with the behaviour of AWS, not of an emulator"),
    ("P15", "It runs for a long time without attention"),
]

# A figure is told apart from others of its promise by the words before its colon.
LINE = re.compile(r"\bevidence (P\d+) ([^:\n]+): (.+)$", re.MULTILINE)


def known(path):
    try:
        with open(path) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def said_by(run):
    """What the tests that passed said, or all that a program did."""
    if not run.endswith(".xml"):
        with open(run) as file:
            yield file.read()
        return
    import xml.etree.ElementTree as tree

    for case in tree.parse(run).iter("testcase"):
        if case.find("failure") is None and case.find("error") is None:
            yield "".join(part.text or "" for part in case.iter("system-out"))


def collect(run, evidence):
    found = known(evidence)
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
    for said in said_by(run):
        for promise, what, figure in LINE.findall(said):
            found.setdefault(promise, {})[what] = {"figure": figure, "when": today}
    with open(evidence, "w") as file:
        json.dump(found, file, indent=1, sort_keys=True)


def show(evidence):
    found = known(evidence)
    for promise, words in PROMISES:
        print(f"{promise:4} {words}")
        figures = found.get(promise, {})
        for what, said in sorted(figures.items()):
            print(f"       {what}: {said['figure']}  [{said['when']} UTC]")
        if not figures:
            print("       not yet run")
    print(
        "\nWhat a producer puts twice is there twice. A Kinesis stream as a sink takes each row at least"
        "\nonce. Nothing was run against AWS itself."
    )


if __name__ == "__main__":
    {"collect": collect, "show": show}[sys.argv[1]](*sys.argv[2:])
