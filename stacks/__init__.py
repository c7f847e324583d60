"""One module for each stack: its providers, its components, its outputs."""

import pulumi_aws as aws


def account_provider(name: str, *, account: str, region: str, profile: str) -> aws.Provider:
    """The provider of one account, which refuses the credentials of any other.

    Args:
        name: name of the provider.
        account: account ID, 12 digits.
        region: Region of what is made with it.
        profile: AWS profile; empty means the default credential chain.
    """
    return aws.Provider(name, region=region, profile=profile or None, allowed_account_ids=[account])
