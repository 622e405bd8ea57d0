"""usage: s3.py create BUCKET | list BUCKET | uploads BUCKET | put BUCKET KEY (from standard input)"""

import sys

import boto3

command, bucket = sys.argv[1:3]
client = boto3.client("s3")
if command == "create":
    client.create_bucket(Bucket=bucket)
elif command == "list":
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            print(entry["Key"])
elif command == "uploads":
    for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        print(upload["Key"])
elif command == "put":
    client.put_object(Bucket=bucket, Key=sys.argv[3], Body=sys.stdin.buffer.read())
else:
    sys.exit(__doc__)
