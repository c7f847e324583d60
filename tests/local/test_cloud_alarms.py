"""CloudWatch of the local cloud: an alarm is as it was given, in each protocol of the SDKs.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricAlarm.html
"""

from urllib.parse import urlencode

import botocore.session
from botocore.parsers import create_parser

from tests.local.test_guard import OWNER, Cloud, cloud, signed

__all__ = ["cloud"]

TOPIC = f"arn:aws:sns:us-east-1:{OWNER}:alarms"
ALARM = {
    "AlarmName": "errors", "AlarmDescription": "Errors & more", "Namespace": "AWS/Lambda", "MetricName": "Errors",
    "Dimensions": [{"Name": "FunctionName", "Value": "f"}], "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
    "ComparisonOperator": "GreaterThanOrEqualToThreshold", "Threshold": 1.0, "TreatMissingData": "notBreaching",
    "AlarmActions": [TOPIC], "OKActions": [], "InsufficientDataActions": [], "ActionsEnabled": True,
}  # fmt: skip


def test_an_alarm_is_as_it_was_given(cloud: Cloud) -> None:
    client = cloud.client("cloudwatch")
    client.put_metric_alarm(**ALARM)
    (found,) = client.describe_alarms(AlarmNames=["errors"])["MetricAlarms"]
    assert ALARM.items() <= found.items()


def test_an_alarm_is_whole_in_the_query_protocol(cloud: Cloud) -> None:
    cloud.client("cloudwatch").put_metric_alarm(**ALARM)
    form = urlencode({"Action": "DescribeAlarms", "Version": "2010-08-01", "AlarmNames.member.1": "errors"}).encode()
    kind = {"Content_Type": "application/x-www-form-urlencoded"}
    headers = signed(cloud, "monitoring", OWNER, cloud.key(OWNER), "POST", "/", form, **kind)
    status, named, body = cloud.call("POST", "/", headers, form)
    assert status == 200
    model = botocore.session.get_session().get_service_model("cloudwatch").operation_model("DescribeAlarms")
    answer = {"status_code": status, "headers": named, "body": body}
    (found,) = create_parser("query").parse(answer, model.output_shape)["MetricAlarms"]
    assert ALARM.items() <= found.items()
