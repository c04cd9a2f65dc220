"""prepare.py ENDPOINT: a user with a key, made while moto does not check yet; prints the key and its secret."""

import json
import sys

import boto3

iam = boto3.client(
    "iam", endpoint_url=sys.argv[1], aws_access_key_id="none", aws_secret_access_key="none", region_name="us-east-1"
)
iam.create_user(UserName="person")
key = iam.create_access_key(UserName="person")["AccessKey"]
everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
iam.put_user_policy(UserName="person", PolicyName="everything", PolicyDocument=json.dumps(everything))
print(key["AccessKeyId"], key["SecretAccessKey"])
