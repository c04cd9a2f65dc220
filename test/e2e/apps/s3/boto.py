"""boto.py ENDPOINT KEY SECRET: a bucket's life with boto3."""

import sys

import boto3
from botocore.config import Config

endpoint, key, secret = sys.argv[1:]
client = boto3.client(
    "s3",
    endpoint_url=endpoint,
    aws_access_key_id=key,
    aws_secret_access_key=secret,
    region_name="us-east-1",
    config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
)
client.create_bucket(Bucket="proof")
body = bytes(range(256)) * 4096
client.put_object(Bucket="proof", Key="folder/a b.bin", Body=body)
assert client.get_object(Bucket="proof", Key="folder/a b.bin")["Body"].read() == body
assert [entry["Key"] for entry in client.list_objects_v2(Bucket="proof")["Contents"]] == ["folder/a b.bin"]
client.delete_object(Bucket="proof", Key="folder/a b.bin")
client.delete_bucket(Bucket="proof")
print("boto3 done")
