"""Puts numbered events into a Kinesis stream with boto3 while its shards are split and merged.

usage: kinesis_reshard.py STREAM EVENTS PER_SECOND RESHARDS SEED

Every other call puts records of the Kinesis Producer Library's form, made by aws_kinesis_agg; some of
the others are compressed. Event n is {"n", "company", "happened"}, 50 of them in a second of 2026; at the
end each open shard gets one of 2027, so that every watermark passes the others.
"""

import gzip
import json
import random
import sys
import time
from datetime import datetime, timedelta

import boto3
from aws_kinesis_agg.aggregator import RecordAggregator
from botocore.config import Config

BATCH = 200
IN_AGGREGATE = 25
SHARDS_MAX = 7


def event(n):
    happened = datetime(2026, 1, 1) + timedelta(seconds=n // 50)
    return {"n": n, "company": f"c{n * 7 % 23}", "happened": happened.isoformat(" ")}


def plain(events, dice):
    for e in events:
        data = json.dumps(e).encode()
        yield {"Data": gzip.compress(data) if dice.random() < 0.1 else data, "PartitionKey": e["company"]}


def aggregated(events):
    aggregator = RecordAggregator()
    for start in range(0, len(events), IN_AGGREGATE):
        for e in events[start : start + IN_AGGREGATE]:
            aggregator.add_user_record(e["company"], json.dumps(e).encode())
        key, _, data = aggregator.clear_and_get().get_contents()
        yield {"Data": data, "PartitionKey": key}


def put(client, stream, records):
    for attempt in range(50):
        reply = client.put_records(StreamName=stream, Records=records)
        if reply["FailedRecordCount"] == 0:
            return
        records = [r for r, result in zip(records, reply["Records"]) if "ErrorCode" in result]
        time.sleep(0.05 * (attempt + 1))
    raise RuntimeError(f"{len(records)} records are refused again and again")


def active(client, stream):
    for _ in range(600):
        summary = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
        if summary["StreamStatus"] == "ACTIVE":
            return
        time.sleep(0.05)
    raise TimeoutError(f"{stream} does not become active")


def open_shards(client, stream):
    shards = client.list_shards(StreamName=stream)["Shards"]
    shards = [s for s in shards if "EndingSequenceNumber" not in s["SequenceNumberRange"]]
    return sorted(shards, key=lambda s: int(s["HashKeyRange"]["StartingHashKey"]))


def reshard(client, stream, dice):
    shards = open_shards(client, stream)
    index = dice.randrange(len(shards))
    if len(shards) < 3 or (len(shards) < SHARDS_MAX and dice.random() < 0.5):
        low, high = (int(shards[index]["HashKeyRange"][k]) for k in ("StartingHashKey", "EndingHashKey"))
        middle = str((low + high) // 2 + 1)
        client.split_shard(StreamName=stream, ShardToSplit=shards[index]["ShardId"], NewStartingHashKey=middle)
    else:
        index = min(index, len(shards) - 2)
        pair = [s["ShardId"] for s in shards[index : index + 2]]
        client.merge_shards(StreamName=stream, ShardToMerge=pair[0], AdjacentShardToMerge=pair[1])
    active(client, stream)


def main():
    stream, events, per_second, reshards, seed = sys.argv[1], *map(int, sys.argv[2:6])
    dice = random.Random(seed)
    client = boto3.client("kinesis", config=Config(retries={"max_attempts": 5}))
    # A call whose answer was lost must not be repeated: no one could tell its records from others.
    writer = boto3.client("kinesis", config=Config(retries={"max_attempts": 0}))
    client.create_stream(StreamName=stream, ShardCount=3)
    active(client, stream)
    print("begun", flush=True)
    begun = time.monotonic()
    at = sorted(dice.randrange(BATCH, events) for _ in range(reshards))
    for number, start in enumerate(range(0, events, BATCH)):
        batch = [event(n) for n in range(start, min(start + BATCH, events))]
        put(writer, stream, list(aggregated(batch) if number % 2 else plain(batch, dice)))
        while at and at[0] < start + BATCH:
            at.pop(0)
            reshard(client, stream, dice)
        time.sleep(max(0, begun + start / per_second - time.monotonic()))
    for shard in open_shards(client, stream):
        last = {"n": -1, "company": "none", "happened": "2027-01-01 00:00:00"}
        key = shard["HashKeyRange"]["StartingHashKey"]
        client.put_record(StreamName=stream, Data=json.dumps(last), PartitionKey="x", ExplicitHashKey=key)
    print(len(client.list_shards(StreamName=stream)["Shards"]), flush=True)


main()
