"""A program with only providers, which start and check their credentials: the bound."""

import pulumi
import pulumi_aws as aws

config = pulumi.Config()
for profile in config.require_object("profiles"):
    aws.Provider(profile, region="us-east-1", profile=profile)
if config.require_bool("docker"):
    import pulumi_docker as docker

    docker.Provider("docker")
