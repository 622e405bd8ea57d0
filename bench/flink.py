#!/usr/bin/env python3
"""Nexmark in Apache Flink and in Millstream, in turn, over the same files on this machine.

    bench/flink.py --events 1000000 --queries q0,q1,q4

Needs Python 3.9 or newer with pip, a JDK of 11 or newer, and a release build of Millstream (cargo build
--release --locked). Flink comes from PyPI (330 MB, into --work, once) and runs standalone on the
loopback interface with two slots, mini-batches and object reuse; its time is the job's own duration,
without the start of the cluster and of the client. Millstream's is from opening the files to the last
row. Both decode JSON from disk and drop their output.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
QUERIES = ROOT / "queries" / "nexmark"
FLINK = "apache-flink-libraries==2.3.0"
LANES = 2
RUNTIME = "org.apache.flink.runtime."
REST = "http://127.0.0.1:8081"
# q6 needs an OVER that takes rows back, which Flink has not; q10 writes files and q13 reads a table,
# which would measure something else.
LEFT_OUT = {"q6", "q10", "q13"}

SETTINGS = f"""
SET 'parallelism.default' = '{LANES}';
SET 'pipeline.object-reuse' = 'true';
SET 'execution.checkpointing.interval' = '10 s';
SET 'restart-strategy.type' = 'none';
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '2 s';
SET 'table.exec.mini-batch.size' = '50000';
SET 'table.exec.source.idle-timeout' = '1 s';
"""

# The same in Flink's words.
WORDS = [
    (r"SELECT STREAM", "SELECT"),
    (r"to_char\(date_time, '%Y-%m-%d'\)", "DATE_FORMAT(date_time, 'yyyy-MM-dd')"),
    (r"to_char\(date_time, '%H:%M'\)", "DATE_FORMAT(date_time, 'HH:mm')"),
    (r"\(regexp_match\((.*?, '.*?')\)\)\[2\]", r"REGEXP_EXTRACT(\1, 2)"),
    (r"SPLIT_PART\(url, '/', 4\)", "SPLIT_INDEX(url, '/', 3)"),
    (r"SPLIT_PART\(url, '/', 5\)", "SPLIT_INDEX(url, '/', 4)"),
    (r"SPLIT_PART\(url, '/', 6\)", "SPLIT_INDEX(url, '/', 5)"),
    (r'"(day|minute)"', r"`\1`"),
]
Q12 = """SELECT bidder, COUNT(*) AS bid_count, window_start
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end"""


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def install(work):
    """Flink's folder, installed unless it is there."""
    home = work / "flink" / "pyflink"
    if not home.exists():
        print(f"installing {FLINK} into {work}", flush=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        run([*pip, "--target", work / "flink", FLINK])
    return home


def tables(folder):
    """Our declarations of the streams in Flink's words."""
    text = (QUERIES / "streams.sql").read_text()
    found = []
    for name, columns in re.findall(r"CREATE STREAM (\w+) \(\n(.*?)\n\) WITH", text, re.S):
        columns = re.sub(r"VARCHAR\(\d+\)", "STRING", columns)
        columns = re.sub(r"TIMESTAMP\b", "TIMESTAMP(3)", columns)
        path = (folder / f"{name}.json").as_uri()
        options = f"'connector' = 'filesystem', 'path' = '{path}', 'format' = 'json'"
        found.append(f"CREATE TABLE {name} (\n{columns}\n) WITH ({options});\n")
    return "".join(found)


def flink_text(name):
    """Our query in Flink's words."""
    text = "\n".join(
        line for line in (QUERIES / f"{name}.sql").read_text().splitlines() if line[:2] != "--"
    )
    if name == "q12":
        text = Q12
    for ours, theirs in WORDS:
        text = re.sub(ours, theirs, text)
    return f"CREATE TABLE nowhere WITH ('connector' = 'blackhole') AS\n{text.rstrip().rstrip(';')};\n"


def java(home, memory, *words):
    """The command that runs a program with Flink's classes."""
    opened = "java.lang java.lang.reflect java.net java.nio java.text java.time java.util"
    opened += " java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks java.io"
    opens = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in opened.split()]
    return ["java", *opens, f"-Xmx{memory}", "-cp", f"{home}/lib/*", *words]


def task_memory():
    """The memory of a task manager that no script computes."""
    sizes = {
        "taskmanager.cpu.cores": LANES,
        "taskmanager.memory.task.heap.size": "1536m",
        "taskmanager.memory.task.off-heap.size": "0m",
        "taskmanager.memory.framework.heap.size": "128m",
        "taskmanager.memory.framework.off-heap.size": "128m",
        "taskmanager.memory.managed.size": "512m",
        "taskmanager.memory.network.min": "256m",
        "taskmanager.memory.network.max": "256m",
        "taskmanager.memory.jvm-metaspace.size": "256m",
        "taskmanager.memory.jvm-overhead.min": "192m",
        "taskmanager.memory.jvm-overhead.max": "192m",
    }
    return [word for key, value in sizes.items() for word in ("-D", f"{key}={value}")]


def rest(path):
    with urllib.request.urlopen(REST + path, timeout=10) as answer:
        return json.load(answer)


def flink_seconds(home, environment, folder, name, work):
    """How long Flink's job ran, or None and why not."""
    script = work / f"{name}.sql"
    # In the job manager's memory, where they go otherwise, 5 MB of state are too much.
    checkpoints = f"SET 'execution.checkpointing.dir' = '{(work / 'checkpoints').as_uri()}';\n"
    script.write_text(SETTINGS + checkpoints + tables(folder) + flink_text(name))
    before = {job["jid"] for job in rest("/jobs/overview")["jobs"]}
    client = java(home, "1g", str(ROOT / "bench" / "Submit.java"), str(script))
    done = subprocess.run(client, env=environment, capture_output=True, text=True)
    jobs = [job for job in rest("/jobs/overview")["jobs"] if job["jid"] not in before]
    if len(jobs) != 1 or jobs[0]["state"] != "FINISHED":
        (work / f"{name}.log").write_text(done.stdout + done.stderr)
        return None
    return jobs[0]["duration"] / 1000


def millstream(binary, folder, names):
    """Per query: events a second of Millstream and of DataFusion, and the events there are."""
    command = [binary, "bench", "nexmark", "--dir", folder, "--lanes", str(LANES)]
    text = run([*command, "--queries", ",".join(names)])
    rows = [line.split() for line in text.splitlines() if re.match(r"q\d+ ", line)]
    return {row[0]: (float(row[2]), float(row[7])) for row in rows if row[1].isdigit()}


def read(name):
    """The streams a query reads."""
    text = (QUERIES / f"{name}.sql").read_text()
    return [s for s in ("person", "auction", "bid") if re.search(rf"(FROM|JOIN|TABLE) {s}\b", text)]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=1_000_000)
    arguments.add_argument("--queries", default=",".join(f"q{n}" for n in range(23)))
    arguments.add_argument("--work", type=pathlib.Path, default=ROOT / "target" / "bench-flink")
    arguments.add_argument(
        "--millstream", type=pathlib.Path, default=ROOT / "target" / "release" / "millstream"
    )
    given = arguments.parse_args()
    names = [name for name in given.queries.split(",") if name not in LEFT_OUT]
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    folder = work / f"nexmark-{given.events}"
    if not folder.exists():
        generate = [given.millstream, "generate", "nexmark", "--rate", "0", "--to", "files"]
        run([*generate, "--count", str(given.events), "--dir", folder])
    lines = {s: sum(1 for _ in open(folder / f"{s}.json")) for s in ("person", "auction", "bid")}
    ours = millstream(given.millstream, folder, names)
    home = install(work)
    environment = {**os.environ, "FLINK_HOME": str(home), "FLINK_CONF_DIR": str(work / "conf")}
    (work / "conf").mkdir(exist_ok=True)
    (work / "conf" / "config.yaml").write_text(
        "jobmanager: {rpc: {address: 127.0.0.1}, bind-host: 127.0.0.1}\n"
        "taskmanager: {host: 127.0.0.1, bind-host: 127.0.0.1, "
        f"numberOfTaskSlots: {LANES}}}\n"
        "rest: {address: 127.0.0.1, bind-address: 127.0.0.1}\n"
    )
    entry = ["--configDir", str(work / "conf")]
    programs = [
        java(home, "1g", RUNTIME + "entrypoint.StandaloneSessionClusterEntrypoint", *entry),
        java(home, "2g", RUNTIME + "taskexecutor.TaskManagerRunner", *entry, *task_memory()),
    ]
    log = open(work / "flink.log", "w")
    cluster = [
        subprocess.Popen(program, env=environment, stdout=log, stderr=log) for program in programs
    ]
    try:
        for _ in range(60):
            try:
                if rest("/overview")["slots-total"] == LANES:
                    break
            except OSError:
                pass
            time.sleep(1)
        print(f"{'query':<6}{'Flink ev/s':>14}{'Millstream':>14}{'DataFusion':>14}{'x Flink':>9}")
        for name in names:
            if name not in ours:
                print(f"{name:<6}{'not run by Millstream':>28}", flush=True)
                continue
            took = flink_seconds(home, environment, folder, name, work)
            speed, batch = ours[name]
            if took is None:
                print(f"{name:<6}{'failed':>14}{speed:>14.0f}{batch:>14.0f}", flush=True)
                continue
            flink = sum(lines[s] for s in read(name)) / took
            print(f"{name:<6}{flink:>14.0f}{speed:>14.0f}{batch:>14.0f}{speed / flink:>9.1f}", flush=True)
    finally:
        for program in cluster:
            program.terminate()
        for program in cluster:
            program.wait()


if __name__ == "__main__":
    main()
