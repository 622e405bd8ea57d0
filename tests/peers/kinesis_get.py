"""Prints all records of a Kinesis stream with boto3: partition key, tab, data.

usage: kinesis_get.py STREAM
"""

import sys

import boto3

stream = sys.argv[1]
client = boto3.client("kinesis")
for shard in client.list_shards(StreamName=stream)["Shards"]:
    kind = {"ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
    iterator = client.get_shard_iterator(StreamName=stream, **kind)["ShardIterator"]
    empty = 0
    while iterator and empty < 3:
        page = client.get_records(ShardIterator=iterator)
        for record in page["Records"]:
            print(record["PartitionKey"], record["Data"].decode(), sep="\t")
        empty = 0 if page["Records"] else empty + 1
        iterator = page.get("NextShardIterator")
