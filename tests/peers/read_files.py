"""Prints the rows of a Hive-partitioned folder as CSV without a header, read by someone else.

usage: read_files.py duckdb|pyarrow parquet|csv|json PATH COLUMN,COLUMN…

PATH is a local folder or s3://bucket/prefix; the endpoint comes from AWS_ENDPOINT_URL.
"""

import csv
import os
import sys
import tempfile

import boto3
import duckdb
import pyarrow.dataset as ds


def download(path):
    """The objects under an s3:// path, in a local folder of the same shape."""
    bucket, _, prefix = path.removeprefix("s3://").partition("/")
    folder = tempfile.mkdtemp()
    client = boto3.client("s3")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for entry in (entry for page in pages for entry in page.get("Contents", [])):
        local = os.path.join(folder, entry["Key"][len(prefix) :].lstrip("/"))
        os.makedirs(os.path.dirname(local), exist_ok=True)
        client.download_file(bucket, entry["Key"], local)
    return folder


def with_duckdb(form, path, columns):
    reader = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}[form]
    files = f"{path}/**/*.{form}"
    options = "hive_partitioning = true" + (", header = true" if form == "csv" else "")
    names = ", ".join(f'"{column}"' for column in columns)
    query = f"SELECT {names} FROM {reader}('{files}', {options})"
    return duckdb.connect().execute(query).fetchall()


def with_pyarrow(form, path, columns):
    partitioning = ds.HivePartitioning.discover(infer_dictionary=False)
    # A file that is still being written has a name readers are used to skip; nobody else's files are
    # in the folder, so every visible one must be readable.
    dataset = ds.dataset(path, format=form, partitioning=partitioning)
    names = {name.lower(): name for name in dataset.schema.names}
    columns = [names[column.lower()] for column in columns]
    return [tuple(row[name] for name in columns) for row in dataset.to_table(columns).to_pylist()]


def main():
    engine, form, path, columns = sys.argv[1:]
    if path.startswith("s3://"):
        path = download(path)
    read = {"duckdb": with_duckdb, "pyarrow": with_pyarrow}[engine]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for row in read(form, path, columns.split(",")):
        writer.writerow(["" if value is None else value for value in row])


main()
