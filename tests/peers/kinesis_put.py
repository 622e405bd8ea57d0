"""Puts the lines of standard input into a Kinesis stream, one record per line, with boto3.

usage: kinesis_put.py STREAM SHARDS KEY_FIELD [COLUMN,COLUMN…]

With columns, the lines are CSV, and each record is a JSON object of these columns.
Creates the stream if it does not exist. A line that is a JSON object goes to the partition key of its
KEY_FIELD, any other to "-". Records that a batch refuses are sent again, as the API asks for.
"""

import csv
import json
import sys
import time

import boto3
from botocore.config import Config

BATCH = 100


def key_of(line, field):
    try:
        record = json.loads(line)
    except ValueError:
        return "-"
    return str(record.get(field, "-")) if isinstance(record, dict) else "-"


def records_of(lines, columns):
    if columns is None:
        return [line.rstrip("\n") for line in lines]
    number = lambda text: int(text) if text.isdigit() else text
    return [json.dumps(dict(zip(columns, map(number, row)))) for row in csv.reader(lines)]


def create(client, stream, shards):
    try:
        client.create_stream(StreamName=stream, ShardCount=shards)
    except client.exceptions.ResourceInUseException:
        pass
    deadline = time.monotonic() + 30
    while True:
        summary = client.describe_stream_summary(StreamName=stream)
        if summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{stream} does not become active")
        time.sleep(0.05)


def put(client, stream, records):
    for attempt in range(10):
        reply = client.put_records(StreamName=stream, Records=records)
        if reply["FailedRecordCount"] == 0:
            return
        pairs = zip(records, reply["Records"])
        records = [record for record, result in pairs if "ErrorCode" in result]
        time.sleep(0.1 * (attempt + 1))
    raise RuntimeError(f"{len(records)} records are refused again and again")


def main():
    stream, shards, field = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    client = boto3.client("kinesis", config=Config(retries={"max_attempts": 5}))
    create(client, stream, shards)
    columns = sys.argv[4].split(",") if len(sys.argv) > 4 else None
    lines = records_of(sys.stdin, columns)
    records = [{"Data": line.encode(), "PartitionKey": key_of(line, field)} for line in lines]
    for start in range(0, len(records), BATCH):
        put(client, stream, records[start : start + BATCH])


main()
