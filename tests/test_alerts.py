"""The alert rules and the dashboard: by Prometheus' own tool, and against the metrics there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from livelog.net.metrics import METRICS
from tests.support.process import ROOT
from tests.support.wire import on_uvloop, serving

DEPLOY = ROOT / "livelog" / "web" / "deploy"
RULES, DASHBOARD = DEPLOY / "prometheus-rules.yml", DEPLOY / "grafana-dashboard.json"
PROMTOOL = shutil.which("promtool") or ""
NAMES = {
    f"livelog_{metric.name}{suffix}"
    for metric in METRICS
    for suffix in {"counter": ["_total"], "histogram": ["_bucket"]}.get(metric.kind, [""])
} | {"livelog_worker_up"}

needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed")

FIRING = """
rule_files: [{rules}]
evaluation_interval: 30s
tests:
  - interval: 30s
    input_series:
      - {{ series: 'up{{job="livelog", instance="a"}}', values: "1x20" }}
      - {{ series: 'up{{job="livelog", instance="b"}}', values: "1 0x19" }}
      - {{ series: 'livelog_state{{state="running", instance="a"}}', values: "1x20" }}
      - {{ series: 'livelog_state{{state="writable", instance="a"}}', values: "1x4 0x15" }}
      - {{ series: 'livelog_state{{state="running", instance="draining"}}', values: "0x20" }}
      - {{ series: 'livelog_state{{state="writable", instance="draining"}}', values: "0x20" }}
      - {{ series: 'livelog_state{{state="running", instance="c", worker="1"}}', values: "1x20" }}
      - {{ series: 'livelog_state{{state="writable", instance="c", worker="1"}}', values: "1x20" }}
      - {{ series: 'livelog_state{{state="running", instance="c", worker="2"}}', values: "1x20" }}
      - {{ series: 'livelog_state{{state="writable", instance="c", worker="2"}}', values: "1x4 0x15" }}
      - {{ series: 'livelog_state{{state="unimpaired", instance="a"}}', values: "0x20" }}
      - {{ series: 'livelog_state{{state="unimpaired", instance="b"}}', values: "1x20" }}
      - {{ series: 'livelog_worker_up{{instance="c", worker="3"}}', values: "1x4 0x15" }}
      - {{ series: 'livelog_memory_bytes{{part="limit", instance="a"}}', values: "1000x20" }}
      - {{ series: 'livelog_memory_bytes{{part="window", instance="a"}}', values: "700x20" }}
      - {{ series: 'livelog_memory_bytes{{part="reading", instance="a"}}', values: "280x20" }}
      - {{ series: 'livelog_delivery_seconds_bucket{{le="0.25", instance="a"}}', values: "0+10x20" }}
      - {{ series: 'livelog_delivery_seconds_bucket{{le="1.0", instance="a"}}', values: "0+12x20" }}
      - {{ series: 'livelog_delivery_seconds_bucket{{le="+Inf", instance="a"}}', values: "0+12x20" }}
      - {{ series: 'livelog_acknowledgement_seconds_bucket{{le="1.0", instance="a"}}', values: "0+9x20" }}
      - {{ series: 'livelog_acknowledgement_seconds_bucket{{le="+Inf", instance="a"}}', values: "0+9x20" }}
    promql_expr_test:
      - expr: count by (alertname, instance) (ALERTS{{alertstate="firing"}})
        eval_time: 10m
        exp_samples:
          - {{ labels: '{{alertname="LivelogDown", instance="b"}}', value: 1 }}
          - {{ labels: '{{alertname="LivelogNotWritable", instance="a"}}', value: 1 }}
          - {{ labels: '{{alertname="LivelogNotWritable", instance="c"}}', value: 1 }}
          - {{ labels: '{{alertname="LivelogImpaired", instance="a"}}', value: 1 }}
          - {{ labels: '{{alertname="LivelogWorkerDown", instance="c"}}', value: 1 }}
          - {{ labels: '{{alertname="LivelogMemoryShort", instance="a"}}', value: 1 }}
          - {{ labels: '{{alertname="LivelogSlowDelivery", instance="a"}}', value: 1 }}
"""  # noqa: E501 - a series stands on one line


def promtool(*arguments: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([PROMTOOL, *arguments], input=given, capture_output=True, check=False)


@needs_promtool
def test_the_rules_are_valid_and_fire_when_they_should(tmp_path: Path) -> None:
    checked = promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    test = tmp_path / "test.yml"
    test.write_text(FIRING.format(rules=RULES))
    done = promtool("test", "rules", str(test))
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


@needs_promtool
@on_uvloop
async def test_the_metrics_are_named_as_is_usual() -> None:
    async with serving() as house:
        house.publish("one")
        answer = await (await house.http()).ask("GET", "/metrics")
        linted = promtool("check", "metrics", given=answer.body)
        assert (linted.returncode, linted.stderr) == (0, b"")


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda file: file.name)
def test_rules_and_dashboard_use_metrics_that_there_are(file: Path) -> None:
    text = re.sub(r"label_values\([^)]*\)", "", file.read_text(encoding="utf-8"))
    used = set(re.findall(r"\blivelog_[a-z_]+\b", text))
    assert used
    assert used <= NAMES


def test_the_dashboard_is_one_that_grafana_can_import() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
        assert all(target["expr"] for target in panel["targets"])
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
