"""TF_CONFIG, as several machines are told of each other."""

import json

import pytest

from tf_deconv.training.cluster import read_cluster
from tf_deconv.utils.options import UserError

WORKERS = ["host-0:2222", "host-1:2223"]


def config(cluster, job="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})


@pytest.mark.parametrize("index", [1, "1"])
def test_a_worker_knows_its_place(index):
    cluster = read_cluster(config({"worker": WORKERS}, index=index))
    assert cluster.addresses == tuple(WORKERS)
    assert (cluster.index, cluster.address, cluster.port) == (1, "host-1:2223", 2223)
    assert not cluster.is_chief


def test_the_first_worker_is_the_chief_where_none_is_named():
    assert read_cluster(config({"worker": WORKERS})).is_chief


@pytest.mark.parametrize(("job", "place"), [("chief", 0), ("worker", 1)])
def test_a_chief_comes_before_the_workers(job, place):
    cluster = read_cluster(config({"worker": WORKERS[1:], "chief": WORKERS[:1]}, job))
    assert (cluster.addresses, cluster.index) == (tuple(WORKERS), place)
    assert cluster.is_chief == (job == "chief")


@pytest.mark.parametrize("text", ["", "  ", config({"worker": WORKERS[:1]})])
def test_one_machine_is_no_cluster(text):
    assert read_cluster(text) is None


def test_the_environment_is_read(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config({"worker": WORKERS}))
    assert read_cluster().addresses == tuple(WORKERS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "TF_CONFIG is not JSON .*: expected {"),
        ("[" * 100_000, "TF_CONFIG is not JSON"),
        ("[]", "TF_CONFIG has no valid 'cluster'"),
        ('{"cluster": []}', "TF_CONFIG has no valid 'cluster'"),
        ('{"cluster": {"worker": "host:1"}}', "TF_CONFIG has no valid 'worker'"),
        (json.dumps({"cluster": {"worker": WORKERS}}), "TF_CONFIG has no valid 'task'"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"index": 0}}', "has no valid 'type'"),
        (config({"worker": WORKERS}, index=2), r"says that this is worker 2: expected one of"),
        (config({"worker": WORKERS}, index=-1), "this is worker -1"),
        (config({"worker": WORKERS}, index=None), "this is worker None"),
        (
            config({"worker": WORKERS}, "chief"),
            "this is chief 0: expected one of worker 0, worker 1",
        ),
        (config({"worker": ["host"]}), "names the worker 'host': expected HOST:PORT"),
        (config({"worker": ["host:70000"]}), "names the worker 'host:70000'"),
        (config({"worker": [7]}), "names the worker 7"),
        (config({"worker": ["a:1", "a:1"]}), "expected each once"),
        (config({"worker": []}), "expected each once"),
        (config({"worker": WORKERS, "ps": ["c:1"]}), r"jobs \['ps'\]: expected only"),
        (config({"worker": ["c:1"], "chief": WORKERS}), "2 chiefs: expected one at most"),
    ],
)
def test_what_is_no_cluster_is_refused(text, says):
    with pytest.raises(UserError, match=says):
        read_cluster(text)
