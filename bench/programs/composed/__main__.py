"""Both components in one program with a variable number of functions, for `growth`."""

import os

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker

from components.function import ImageFunction, ImageFunctionArgs
from components.image.build import ImageBuild
from components.image.source import BuiltImage, ExistingImage, RegistryLogin, push
from components.repository import Consumer, CrossAccountRepository, CrossAccountRepositoryArgs
from components.rest_api import RestApi

CONSUMER = "222222222222"
REGION = "us-east-1"

config = pulumi.Config()
registry = aws.Provider("registry", region=REGION, profile="registry")
consumer = aws.Provider("consumer", region=REGION, profile="consumer")

repository = CrossAccountRepository(
    "repository",
    CrossAccountRepositoryArgs(name="composed", region=REGION, consumers=[Consumer(account=CONSUMER)]),
    opts=pulumi.ResourceOptions(provider=registry),
)
token = aws.ecr.get_authorization_token_output(opts=pulumi.InvokeOutputOptions(provider=registry))
login = RegistryLogin(server=repository.url, username=token.user_name, password=token.password)
args = {key: value for key, value in os.environ.items() if key == "LAMBDA_BASE_IMAGE"}
built = BuiltImage(build=ImageBuild(context="app", args=args), repository_url=repository.url, login=login)
image = push("image", built, pulumi.ResourceOptions(provider=docker.Provider("docker")))
for number in range(config.require_int("functions")):
    ImageFunction(
        f"function-{number}",
        ImageFunctionArgs(
            name=f"composed-{number}",
            image=ExistingImage(uri=image.repo_digest),
            endpoint=RestApi(public=True),
        ),
        opts=pulumi.ResourceOptions(provider=consumer),
    )
