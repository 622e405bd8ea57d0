"""Looks at a bucket until standard input ends: an object that is there is whole, and stays as it is.

usage: s3_watch.py BUCKET PREFIX

Prints how many objects it saw; fails with what was wrong.
"""

import sys
import threading
import time

import boto3

bucket, prefix = sys.argv[1:]
client = boto3.client("s3")
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
seen = {}
last = False
while not last:
    # Once more after the end, so that all there is has been seen.
    last = ended.is_set()
    listed = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        listed.update({entry["Key"]: entry["ETag"] for entry in page.get("Contents", [])})
    for key in seen:
        assert listed.get(key) == seen[key], f"{key} changed or vanished"
    for key in listed.keys() - seen.keys():
        body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        whole = body[:4] == body[-4:] == b"PAR1" if key.endswith(".parquet") else body[-1:] == b"\n"
        assert whole, f"{key} is not whole"
        seen[key] = listed[key]
    time.sleep(0.1)
print(len(seen))
