"""Values that the chart refuses, and the words in which it does."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from chart.helm import MAJORS, RenderError, render
from lab.generate import admit_removed
from lab.paths import CHART

KEDA = "autoscaling.mode=keda,autoscaling.keda.serverAddress=http://prometheus:9090"
MOUNTED = "secretManager.enabled=true,secretManager.project=p"
SAFE_TO_EVICT = "podAnnotations.cluster-autoscaler\\.kubernetes\\.io/safe-to-evict"
VALKEY = "state.store=redis,state.encryption.existingSecret.name=k,state.valkey.enabled=true"

BAD_VALUES = {
    "unknown key": (["--set", "agnet.slots=4"], "agnet"),
    "unknown nested key": (["--set", "agent.slot=4"], "slot"),
    "wrong type": (["--set", "agent.slots=many"], "slots"),
    "empty class": (["--set", "agent.class="], "class"),
    "huge integer": (["--set", "agent.slots=99999999999999999999"], "slots"),
    "no LiveKit": (["--set", "livekit.url="], "livekit.url is not set"),
    "LiveKit by http": (["--set", "livekit.url=https://my.livekit.cloud"], "Begin it with wss://"),
    "no LiveKit secret": (
        ["--set", "livekit.existingSecret.name="],
        "kubectl -n voice-agent create secret generic livekit-credentials",
    ),
    "no Gemini credentials": (["--set", "gemini.apiKey.existingSecret.name="], "gemini has no credentials"),
    "two Gemini credentials": (
        ["--set", "gemini.vertexai.enabled=true,gemini.vertexai.project=p"],
        "the worker uses one or the other",
    ),
    "Vertex AI without a project": (
        ["--set", "gemini.vertexai.enabled=true,gemini.apiKey.existingSecret.name="],
        "gemini.vertexai.project is not set",
    ),
    "bad endpoint": (["--set", "gemini.baseUrl=gemini.internal"], "gemini.baseUrl"),
    "grace shorter than the drain": (
        ["--set", "drain.gracePeriodSeconds=150,drain.timeoutSeconds=145"],
        "Set drain.timeoutSeconds to at most 140 (or leave it out), or drain.gracePeriodSeconds to at least 155",
    ),
    "no time to hand calls over": (
        ["--set", "drain.gracePeriodSeconds=25"],
        "Set it to at most 3, or drain.gracePeriodSeconds to at least 70",
    ),
    "a deadline that leaves no time to hand calls over": (
        ["--set", "drain.timeoutSeconds=20"],
        "Set it to at most 8, or drain.timeoutSeconds to at least 60",
    ),
    "grace shorter than the end of a worker": (["--set", "drain.gracePeriodSeconds=9"], "at least 10"),
    "bounds the wrong way round": (
        ["--set", "autoscaling.minReplicas=5,autoscaling.maxReplicas=2"],
        "Set the maximum to at least the minimum",
    ),
    "CPU target without a request": (["--set", "resources.requests.cpu=null"], "resources.requests.cpu is not set"),
    "calls to follow that nothing tells of": (
        ["--set", "autoscaling.mode=external,autoscaling.external.metricName="],
        "autoscaling.external.metricName is not set",
    ),
    "a Prometheus that is nowhere": (["--set", "autoscaling.mode=keda"], "autoscaling.keda.serverAddress is not set"),
    "a Prometheus without a scheme": (
        ["--set", f"{KEDA},autoscaling.keda.serverAddress=prometheus:9090"],
        'autoscaling.keda.serverAddress is "prometheus:9090", which is not a URL. Begin it with http://',
    ),
    "a trigger with two thresholds": (
        ["--set", f"{KEDA},autoscaling.keda.metadata.threshold=1"],
        "autoscaling.keda.metadata.threshold is set, but the chart sets it itself",
    ),
    "a full fleet that would not grow": (
        ["--set", "autoscaling.mode=external,agent.slots=20,autoscaling.calls.targetPerPod=19"],
        "a full fleet would not grow. Set it to at most 18",
    ),
    "a fleet of single calls that would not grow": (
        ["--set", "autoscaling.mode=external,agent.slots=1,autoscaling.calls.targetPerPod=1"],
        "Leave it out, or raise agent.slots",
    ),
    "calls of a command that nobody counts": (
        ["--set", f"{KEDA},command={{python}},probes.startup=null,probes.readiness=null,probes.liveness=null"],
        'autoscaling.mode is keda, but command is "python", and only the image\'s worker tells of its calls',
    ),
    "metrics of a command that serves none": (
        [
            "--set",
            "telemetry.metrics.monitor=podMonitor,command={python},"
            "probes.startup=null,probes.readiness=null,probes.liveness=null",
        ],
        "extraPorts has no port of the name metrics",
    ),
    "relabelings that Managed Prometheus lacks": (
        ["--set", "telemetry.metrics.monitor=podMonitoring,telemetry.metrics.relabelings[0].action=labeldrop"],
        "relabel samples by telemetry.metrics.metricRelabelings",
    ),
    "a monitor that the cluster does not know": (
        ["--set", "telemetry.metrics.monitor=podMonitor,telemetry.metrics.renderMode=failIfMissing"],
        "the cluster does not know monitoring.coreos.com/v1/PodMonitor",
    ),
    "rules that the cluster does not know": (
        ["--set", "telemetry.metrics.rules.enabled=true,telemetry.metrics.renderMode=failIfMissing"],
        "the cluster does not know monitoring.coreos.com/v1/PrometheusRule",
    ),
    "budget that allows nothing": (
        ["--set", "podDisruptionBudget.maxUnavailable=0"],
        "podDisruptionBudget.maxUnavailable is 0",
    ),
    "budget of all pods": (
        ["--set", "podDisruptionBudget.maxUnavailable=null,podDisruptionBudget.minAvailable=3"],
        "autoscaling.minReplicas is 3",
    ),
    "budget of a share that is all pods": (
        ["--set", "podDisruptionBudget.maxUnavailable=null,podDisruptionBudget.minAvailable=90%"],
        "podDisruptionBudget.minAvailable is 90% and autoscaling.minReplicas is 3",
    ),
    "two budgets": (["--set", "podDisruptionBudget.minAvailable=1"], "Kubernetes accepts one"),
    "a store that is nowhere": (["--set", "state.store=redis"], "state.redis.url is not set"),
    "a store that can be read": (
        ["--set", "state.store=redis,state.redis.url=redis://redis:6379"],
        "state.encryption.existingSecret.name is not set",
    ),
    "a store of another kind": (["--set", "state.store=redis,state.redis.url=http://redis"], "Begin it with redis://"),
    "a password among the values": (
        ["--set", "state.store=redis,state.redis.url=redis://:hidden@redis:6379"],
        "state.redis.url holds a password",
    ),
    "a store without keepers": (
        ["--set", "state.store=redis,state.redis.url=redis://redis,keeper.enabled=false"],
        "only keepers use the store",
    ),
    "two stores": (
        ["--set", f"{VALKEY},state.redis.existingSecret.name=s,state.redis.url=redis://other"],
        'state.redis.url is "redis://other": keepers use one server',
    ),
    "a Valkey without a password": (
        ["--set", VALKEY],
        "kubectl -n voice-agent create secret generic voice-agent-valkey --from-literal=password=",
    ),
    "a Valkey that nothing uses": (
        ["--set", "state.valkey.enabled=true,state.redis.existingSecret.name=s"],
        "state.store is memory: nothing would use it",
    ),
    "a certificate for a Valkey without one": (
        ["--set", f"{VALKEY},state.redis.existingSecret.name=s,state.redis.ca.secretName=ca"],
        'state.redis.ca.secretName is "ca", but the Valkey of state.valkey.enabled has no certificate',
    ),
    "a Valkey that outgrows its pod": (
        ["--set", f"{VALKEY},state.redis.existingSecret.name=s,state.valkey.maxMemory=512mb"],
        "Set state.valkey.resources.limits.memory to at least 1024Mi, or state.valkey.maxMemory to at most 196608kb",
    ),
    "a limit below its request": (
        ["--set", "keeper.resources.limits.memory=0.1Gi"],
        "keeper.resources.requests.memory is 192Mi and keeper.resources.limits.memory is 0.1Gi",
    ),
    "names that begin with a digit": (["--set", "fullnameOverride=1a"], "Set fullnameOverride to such a name"),
    "a name that is too long": (["--set", f"fullnameOverride={'a' * 53}"], "Shorten it to 52"),
    "a label that selects": (
        ["--set", "podLabels.app\\.kubernetes\\.io/instance=x"],
        'podLabels sets app.kubernetes.io/instance to "x"',
    ),
    "a label that is too long": (["--set", f"podLabels.a={'a' * 64}"], "/podLabels/a"),
    "a label that is no text": (["--set", "podLabels.a=1"], "got number, want string"),
    "two Google accounts": (
        [
            "--set",
            "serviceAccount.workloadIdentity.gcpServiceAccount=a@b.example",
            "--set",
            "serviceAccount.annotations.iam\\.gke\\.io/gcp-service-account=c@b.example",
        ],
        "pods act as one",
    ),
    "an account and a file": (
        [
            "--set",
            "serviceAccount.workloadIdentity.gcpServiceAccount=a@b.example",
            "--set",
            "extraEnv[0].name=GOOGLE_APPLICATION_CREDENTIALS,extraEnv[0].value=/key.json",
        ],
        "Google's libraries would use the file only",
    ),
    "a key twice": (["--set", "extraEnv[0].name=GOOGLE_API_KEY,extraEnv[0].value=k"], "extraEnv sets GOOGLE_API_KEY"),
    "a key of another name": (
        ["--set", "extraEnv[0].name=GEMINI_API_KEY,extraEnv[0].value=k"],
        "extraEnv sets GEMINI_API_KEY beside the credentials of gemini.*",
    ),
    "a variable that the chart sets": (
        ["--set", "extraEnv[0].name=LOG_LEVEL,extraEnv[0].value=DEBUG"],
        "extraEnv sets LOG_LEVEL, which the chart sets itself",
    ),
    "a keepers' variable that the chart sets": (
        ["--set", "keeper.extraEnv[0].name=CALL_SLOTS,keeper.extraEnv[0].value=many"],
        "keeper.extraEnv sets CALL_SLOTS, which the chart sets itself",
    ),
    "a variable twice": (
        ["--set", "extraEnv[0].name=A,extraEnv[0].value=b,extraEnv[1].name=A,extraEnv[1].value=c"],
        "extraEnv sets A twice",
    ),
    "a variable twice, by a template": (
        ["--set", "extraEnv[0].name=LOG_{{ upper `level` }},extraEnv[0].value=DEBUG"],
        "extraEnv sets LOG_LEVEL, which the chart sets itself",
    ),
    "a variable for a credential of the chart": (
        ["--set", "extraEnv[0].name=LIVEKIT_API_SECRET_FILE,extraEnv[0].value=/secret"],
        "extraEnv sets LIVEKIT_API_SECRET_FILE, and the chart sets LIVEKIT_API_SECRET",
    ),
    "a variable for a mounted credential": (
        [
            *("--set", "livekit.existingSecret.name=,secretManager.enabled=true,secretManager.project=p"),
            *("--set", "secretManager.secrets.livekit.apiKey=k,secretManager.secrets.livekit.apiSecret=s"),
            *("--set", "extraEnv[0].name=LIVEKIT_API_SECRET,extraEnv[0].value=s"),
        ],
        "extraEnv sets LIVEKIT_API_SECRET, and the chart sets LIVEKIT_API_SECRET_FILE",
    ),
    "a volume of the chart's name": (
        ["--set-json", 'extraVolumes=[{"name":"tmp","emptyDir":{}}]'],
        "extraVolumes sets tmp, which the chart sets itself",
    ),
    "a mount on the chart's": (
        ["--set-json", 'extraVolumeMounts=[{"name":"mine","mountPath":"/tmp"}]'],
        "extraVolumeMounts sets /tmp, which the chart sets itself",
    ),
    "a roll-out that cannot move": (["--set", "rollout.maxSurge=0"], "maxSurge"),
    "a value that is taken out": (["--set-json", "agent=null"], "missing property 'agent'"),
    "one account for workers and keepers": (
        ["--set", "serviceAccount.name=a,keeper.serviceAccount.name=a"],
        'serviceAccount and keeper.serviceAccount are both "a"',
    ),
    "a store of secrets that is nowhere": (
        ["--set", "externalSecrets.enabled=true"],
        "externalSecrets.storeRef.name is not set",
    ),
    "a secret twice": (
        [
            "--set",
            "externalSecrets.enabled=true,externalSecrets.storeRef.name=s,gemini.apiKey.existingSecret.name=one",
            "--set",
            "externalSecrets.remote.gemini.apiKey=g,externalSecrets.remote.state.keys=k",
            "--set",
            "state.encryption.existingSecret.name=one",
        ],
        'state.encryption.existingSecret.name is "one", and externalSecrets would make that Secret twice',
    ),
    "half a secret": (
        [
            "--set",
            "externalSecrets.enabled=true,externalSecrets.storeRef.name=s,externalSecrets.remote.livekit.apiKey=k",
        ],
        "externalSecrets.remote.livekit names k only, and the Secret needs apiKey and apiSecret",
    ),
    "a secret without a name": (
        ["--set", "externalSecrets.enabled=true,externalSecrets.storeRef.name=s,externalSecrets.remote.state.keys=k"],
        "externalSecrets.remote.state is set, but state.encryption.existingSecret.name is not",
    ),
    "Secret Manager for nothing": (["--set", MOUNTED], "secretManager.secrets names no secret"),
    "Secret Manager of no project": (
        ["--set", "secretManager.enabled=true,secretManager.secrets.state.keys=keys"],
        'secretManager.secrets.state.keys is "keys", but secretManager.project is not set',
    ),
    "half of what Secret Manager should have": (
        ["--set", f"{MOUNTED},livekit.existingSecret.name=,secretManager.secrets.livekit.apiSecret=s"],
        "secretManager.secrets.livekit.apiKey is not set",
    ),
    "a credential from two places": (
        ["--set", f"{MOUNTED},secretManager.secrets.livekit.apiKey=k,secretManager.secrets.livekit.apiSecret=s"],
        'secretManager.secrets.livekit is set and livekit.existingSecret.name is "livekit-credentials": pods read one',
    ),
    "a credential from two stores": (
        [
            "--set",
            f"{MOUNTED},secretManager.secrets.state.keys=k,externalSecrets.enabled=true",
            "--set",
            "externalSecrets.storeRef.name=s,externalSecrets.remote.state.keys=k",
        ],
        "externalSecrets.remote.state and secretManager.secrets.state are both set: pods read one",
    ),
    "a key of Gemini's beside Vertex AI": (
        [
            "--set",
            f"{MOUNTED},secretManager.secrets.gemini.apiKey=k,gemini.apiKey.existingSecret.name=",
            "--set",
            "gemini.vertexai.enabled=true,gemini.vertexai.project=p",
        ],
        'secretManager.secrets.gemini.apiKey is "k": the worker uses one or the other',
    ),
    "a password that Valkey cannot read": (
        ["--set", f"{VALKEY},state.redis.existingSecret.name=s,{MOUNTED},secretManager.secrets.redis.password=p"],
        "the chart's Valkey takes its password from a Secret. Empty secretManager.secrets.redis.password",
    ),
    "secrets for everybody": (
        ["--set", f"{MOUNTED},secretManager.secrets.state.keys=k,serviceAccount.create=false"],
        "by which workers would read their secrets is the namespace's default",
    ),
    "a secret that is a path": (["--set", f"{MOUNTED},secretManager.secrets.state.keys=projects/p/secrets/s"], "keys"),
    "Spot with a long grace": (
        ["--set", "gke.spot=true"],
        "gke.spot is true and drain.gracePeriodSeconds is 600, but a pod on a Spot node is killed after 25 s",
    ),
    "extended run time on Spot": (
        ["--set", "gke.spot=true,gke.extendedRunTime=true,drain.gracePeriodSeconds=25,drain.finishWithinSeconds=3"],
        "gke.extendedRunTime is true and gke.spot is true, but no pod on a Spot node is kept",
    ),
    "extended run time with a compute class": (
        ["--set", "gke.computeClass=c,gke.extendedRunTime=true"],
        'gke.computeClass is "c", but GKE gives extended run time without a compute class only',
    ),
    "extended run time with affinity of pods": (
        [
            "--set-json",
            'gke.extendedRunTime=true,affinity={"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[]}}',
        ],
        "which GKE refuses together",
    ),
    "Spot by a selector, with a long grace": (
        ["--set-string", "nodeSelector.cloud\\.google\\.com/gke-spot=true"],
        "nodeSelector has cloud.google.com/gke-spot and drain.gracePeriodSeconds is 600",
    ),
    "extended run time with a class by a selector": (
        ["--set", "gke.extendedRunTime=true,nodeSelector.cloud\\.google\\.com/compute-class=c"],
        'nodeSelector has cloud.google.com/compute-class "c", but GKE gives extended run time without',
    ),
    "a template that is not closed": (
        ["--set-json", 'extraEnv=[{"name":"A","value":"{{ .Release.Name"}]'],
        "extraEnv opens a template by {{ and does not close it",
    ),
    "a query that is not closed": (
        ["--set", KEDA, "--set-json", 'autoscaling.keda.query="sum(x{a=\\"{{ .Release.Name }\\"})"'],
        "autoscaling.keda.query opens a template by {{ and does not close it",
    ),
    "a template that refers to nothing": (
        ["--set-json", 'extraEnv=[{"name":"A","value":"{{ .Values.my.name | default \\"x\\" }}"}]'],
        "extraEnv refers to .Values.my.name, but the values have no .Values.my to look into",
    ),
    "a template that looks into text": (
        ["--set-json", 'extraObjects=["{{ $.Values.image.tag.mine }}"]'],
        "extraObjects refers to .Values.image.tag.mine, but the values have no .Values.image.tag to look into",
    ),
    "names that nobody looks up": (["--set", "dnsPolicy=None"], "dnsConfig.nameservers is not set"),
    "keepers that nobody finds": (
        ["--set", "dnsPolicy=Default"],
        "dnsPolicy is Default, and workers find the keepers by the cluster's own names",
    ),
    "keepers that nobody finds by a name server": (
        ["--set", "dnsPolicy=None,dnsConfig.nameservers={10.0.0.10}"],
        "dnsConfig.searches is not set: workers find the keepers by a name that ends in .svc",
    ),
    "a scrape that outlasts its interval": (
        ["--set", "telemetry.metrics.interval=30s,telemetry.metrics.scrapeTimeout=1m"],
        "telemetry.metrics.scrapeTimeout is 1m and telemetry.metrics.interval is 30s",
    ),
    "room that no node is made for": (["--set", "headroom.priority=-11"], "priority"),
    "a hook that leaves the drain no time": (
        ["--set", "drain.timeoutSeconds=300,lifecycle.preStop.sleep.seconds=400"],
        "lifecycle.preStop sleeps 400 s of drain.gracePeriodSeconds, which is 600",
    ),
    "a hook by a command that leaves the drain no time": (
        ["--set-json", 'lifecycle={"preStop":{"exec":{"command":["sh","-c","sleep 120"]}}}'],
        "lifecycle.preStop sleeps 120 s",
    ),
    "two ways to probe": (
        ["--set", "probes.liveness.exec.command={ls},probes.liveness.tcpSocket.port=1"],
        "probes.liveness has the handlers exec and tcpSocket; Kubernetes accepts one",
    ),
    "a command that the probes do not know": (
        ["--set", "command={python,agent.py}"],
        'command is "python agent.py", but probes.startup asks the image\'s own worker',
    ),
    "spans to nowhere": (["--set", "telemetry.traces.exporter=otlp"], "telemetry.traces.otlpEndpoint is not set"),
    "identity without an account": (
        ["--set", "serviceAccount.create=false,serviceAccount.workloadIdentity.gcpServiceAccount=a@b.example"],
        "Annotate your own ServiceAccount",
    ),
    "bad digest": (["--set", "image.digest=latest"], "digest"),
    "null where text is needed": (["--set-json", "livekit.url=null"], "livekit"),
    "null where a group is needed": (["--set-json", "telemetry.metrics=null"], "metrics"),
    "null where a choice is needed": (["--set-json", "autoscaling.mode=null"], "mode"),
    "list where a map is needed": (["--set-json", 'agent=["x"]'], "agent"),
    "an address with a space": (
        ["--set", "livekit.url=wss://a b"],
        'livekit.url is "wss://a b", which is not a LiveKit URL',
    ),
    "a collector without a scheme": (
        ["--set", "telemetry.traces.otlpEndpoint=collector:4318"],
        'telemetry.traces.otlpEndpoint is "collector:4318", which is not a URL. Begin it with http://',
    ),
    "a password in a query": (
        ["--set", "state.store=redis,state.redis.url=redis://redis/0?password=hidden"],
        "state.redis.url holds a password",
    ),
    "a password with a slash": (
        ["--set", "state.store=redis,state.redis.url=redis://user:a/b@redis/0"],
        "state.redis.url holds a password",
    ),
    "a store that nothing uses": (
        ["--set", "state.redis.url=redis://:hidden@redis/0?password=hidden"],
        'state.redis.url is "redis://redis/0", but state.store is memory: nothing would use it',
    ),
    "a hook that sleeps for minutes": (
        ["--set-json", 'lifecycle={"preStop":{"exec":{"command":["sh","-c","sleep 5m"]}}}'],
        "lifecycle.preStop sleeps 300 s",
    ),
    "a hook whose seconds begin with 0": (
        ["--set-json", 'lifecycle={"preStop":{"exec":{"command":["sleep","0100"]}}}'],
        "lifecycle.preStop sleeps 100 s",
    ),
    "a hook that sleeps for ages": (
        ["--set-json", 'lifecycle={"preStop":{"exec":{"command":["sleep","99999999999999999999"]}}}'],
        "lifecycle.preStop sleeps 999999 s",
    ),
    "a hook that sleeps beyond the grace": (
        ["--set", "lifecycle.postStart.sleep.seconds=600"],
        "lifecycle.postStart.sleep.seconds is 600, but drain.gracePeriodSeconds is 600, and Kubernetes accepts less",
    ),
    "nodes of two architectures": (
        ["--set", "gke.arch=arm64,nodeSelector.kubernetes\\.io/arch=amd64"],
        'gke.arch asks for nodes with kubernetes.io/arch "arm64", and nodeSelector has "amd64"',
    ),
    "extended run time that is taken back": (
        ["--set", "gke.extendedRunTime=true", "--set-string", f"{SAFE_TO_EVICT}=true"],
        'podAnnotations has cluster-autoscaler.kubernetes.io/safe-to-evict "true", which takes it back',
    ),
    "extended run time by an annotation, on Spot": (
        [
            *("--set", "gke.spot=true,drain.gracePeriodSeconds=25,drain.finishWithinSeconds=3"),
            *("--set-string", f"{SAFE_TO_EVICT}=false"),
        ],
        "Either set gke.spot=false, or take that out of podAnnotations",
    ),
    "extended run time by an annotation, with a class": (
        ["--set", "gke.computeClass=c", "--set-string", f"{SAFE_TO_EVICT}=false"],
        'podAnnotations has cluster-autoscaler.kubernetes.io/safe-to-evict "false" and gke.computeClass is "c"',
    ),
    "a store of secrets that has none": (
        ["--set", "externalSecrets.enabled=true,externalSecrets.storeRef.name=s"],
        "externalSecrets.enabled is true, but externalSecrets.remote names no secret",
    ),
    "a remote secret that nothing reads": (
        [
            "--set",
            "externalSecrets.enabled=true,externalSecrets.storeRef.name=s,externalSecrets.remote.redis.password=p",
        ],
        "externalSecrets.remote.redis is set, but state.store is memory: nothing would read it. Empty it.",
    ),
    "a mounted secret that nothing reads": (
        ["--set", f"{MOUNTED},keeper.enabled=false,secretManager.secrets.state.keys=k"],
        "secretManager.secrets.state is set, but keeper.enabled is false: nothing would read it. Empty it.",
    ),
    "a remote key of Gemini's beside Vertex AI": (
        [
            *("--set", "externalSecrets.enabled=true,externalSecrets.storeRef.name=s"),
            *("--set", "externalSecrets.remote.gemini.apiKey=g,gemini.apiKey.existingSecret.name="),
            *("--set", "gemini.vertexai.enabled=true,gemini.vertexai.project=p"),
        ],
        'externalSecrets.remote.gemini.apiKey is "g": the worker uses one or the other',
    ),
    "a template for another program": (
        ["--set-json", 'extraObjects=["summary: {{ $labels.pod }} is slow"]'],
        "extraObjects uses $labels in a template, which is not set there. Write {{ `{{ $labels.pod }}` }}",
    ),
    "a template that looks into nothing of Helm's": (
        ["--set-json", 'extraEnv=[{"name":"A","value":"{{ .Labels.pod }}"}]'],
        "extraEnv refers to .Labels.pod, but templates know no .Labels",
    ),
    "a template that asks for something else first": (
        ["--set-json", 'extraEnv=[{"name":"A","value":"{{ if .Values.keeper }}{{ .Values.my.name }}{{ end }}"}]'],
        "extraEnv refers to .Values.my.name, but the values have no .Values.my",
    ),
    "a template whose condition looks into nothing": (
        ["--set-json", 'extraEnv=[{"name":"A","value":"{{ if .Values.my.name }}a{{ end }}"}]'],
        "extraEnv refers to .Values.my.name, but the values have no .Values.my",
    ),
    "a block without an end": (
        ["--set-json", 'extraEnv=[{"name":"A","value":"{{ if .Values.keeper }}a"}]'],
        "extraEnv has 1 of if, with, range and define in its templates, and 0 of end",
    ),
    "a template of nothing": (
        ["--set-json", 'extraEnv=[{"name":"A","value":"a{{ }}"}]'],
        "extraEnv has a template with nothing in it, {{ }}",
    ),
    "a template that makes another list": (
        ["--set-json", r'extraEnv=[{"name":"A","value":"a{{ \"\\n- b\" }}"}]'],
        "extraEnv is no list of maps once its templates are filled in. Have them quoted: {{ VALUE | quote }}.",
    ),
    "a port without a letter": (["--set-json", 'extraPorts=[{"name":"80","containerPort":80}]'], "/extraPorts/0/name"),
    "a name of another kind": (
        ["--set-json", 'extraObjects=["{apiVersion: v1, kind: ConfigMap, metadata: {name: 1}}"]'],
        "extraObjects[0] is a ConfigMap whose metadata.name is 1. Set it to text",
    ),
    "text that is no YAML": (
        ["--set-json", 'extraObjects=["apiVersion: v1\\nkind: [ConfigMap"]'],
        'extraObjects[0] is "apiVersion: v1\\nkind: [ConfigMap", which has no apiVersion and kind, or is no YAML',
    ),
    "a second object of no kind": (
        [
            "--set-json",
            'extraObjects=["apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: a}\\n---\\napiVersion: v1\\nkind: 1"]',
        ],
        'extraObjects[0] is "apiVersion: v1\\nkind: 1", which has no apiVersion and kind',
    ),
    "an object without a name": (
        ["--set-json", 'extraObjects=[{"apiVersion":"v1","kind":"ConfigMap","metadata":{}}]'],
        "extraObjects[0] is a ConfigMap whose metadata.name is not set. Set it to text",
    ),
    "a container of the worker's name": (
        ["--set-json", 'extraContainers=[{"name":"worker","image":"x"}]'],
        "extraContainers has a container of the name worker, and the pod has another",
    ),
    "two containers of a name": (
        ["--set-json", 'initContainers=[{"name":"a","image":"x"}],extraContainers=[{"name":"a","image":"x"}]'],
        "extraContainers has a container of the name a, and the pod has another",
    ),
    "a port of the worker's name": (
        ["--set", "extraPorts[0].name=met{{ `rics` }},extraPorts[0].containerPort=1"],
        "extraPorts has a port named metrics, and the container has another",
    ),
    "a port of the worker's number": (
        ["--set", "extraPorts[0].containerPort=8080"],
        "extraPorts has a port 8080/TCP, and the container has another",
    ),
    "a mount of no volume": (
        ["--set-json", 'extraVolumeMounts=[{"name":"mine","mountPath":"/mine"}]'],
        "extraVolumeMounts mounts the volume mine, which the pod has not. Add it to extraVolumes, or correct the name: "
        "there are tmp, keeper-token.",
    ),
    "a container's mount of no volume": (
        [
            "--set-json",
            'initContainers=[{"name":"a","image":"x","volumeMounts":[{"name":"mine","mountPath":"/mine"}]}]',
        ],
        "initContainers: the container a mounts the volume mine, which the pod has not",
    ),
    "a metric as a path": (
        ["--set", "autoscaling.mode=external,autoscaling.external.metricName=custom/calls"],
        'autoscaling.external.metricName is "custom/calls", and Kubernetes accepts neither / nor % in it. Write | for',
    ),
    "a metric's label that is none": (
        ["--set-json", 'autoscaling.external.matchLabels={"resource.labels.namespace":"a b"}'],
        "/autoscaling/external/matchLabels/resource.labels.namespace",
    ),
    "alerts about a command": (
        [
            *("--set", "telemetry.metrics.rules.enabled=true,command={python}"),
            *("--set", "probes.startup=null,probes.readiness=null,probes.liveness=null"),
        ],
        'telemetry.metrics.rules.enabled is true, but command is "python"',
    ),
    "a call that outgrows its container": (
        ["--set", "agent.callMemoryLimitMiB=4096"],
        "agent.callMemoryLimitMiB is 4096 and resources.limits.memory is 2Gi: the container would be killed first",
    ),
    "a variable's name with =": (["--set", "extraEnv[0].name=A=B"], "/extraEnv/0/name"),
    "a variable from two places": (
        ["--set-json", 'extraEnv=[{"name":"A","value":"a","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}]'],
        "/extraEnv/0",
    ),
    "variables of two objects": (
        ["--set-json", 'extraEnvFrom=[{"configMapRef":{"name":"a"},"secretRef":{"name":"a"}}]'],
        "/extraEnvFrom/0",
    ),
    "a container without an image": (["--set", "initContainers[0].name=a"], "missing property 'image'"),
    "a container's probe that asks nothing": (
        ["--set-json", 'extraContainers=[{"name":"a","image":"x","livenessProbe":{"periodSeconds":1}}]'],
        "/extraContainers/0/livenessProbe",
    ),
    "a port of too long a name": (
        ["--set", "extraPorts[0].name=a-port-of-15-let,extraPorts[0].containerPort=1"],
        "/extraPorts/0/name",
    ),
    "a toleration of every value, and of one": (
        ["--set", "tolerations[0].operator=Exists,tolerations[0].value=x"],
        "/tolerations/0/value",
    ),
    "an address that is none": (["--set", "networkPolicy.egressCIDRs={fe80:::/10}"], "/networkPolicy/egressCIDRs/0"),
    "ports without a first": (
        ["--set-json", 'networkPolicy.extraEgress=[{"ports":[{"endPort":5}]}]'],
        "missing property 'port'",
    ),
    "too many name servers": (
        ["--set", "dnsConfig.nameservers={10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4}"],
        "/dnsConfig/nameservers",
    ),
    "a liveness that counts successes": (["--set", "probes.liveness.successThreshold=2"], "value must be 1"),
    "a profile that is not named": (
        ["--set", "podSecurityContext.seccompProfile.type=Localhost"],
        "missing property 'localhostProfile'",
    ),
}


def _refusal(*arguments: str, helm: str) -> str:
    with pytest.raises(RenderError) as refused:
        render(*arguments, helm=helm)
    return str(refused.value)


@pytest.mark.parametrize(("arguments", "said"), BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_bad_values_are_refused_in_words(arguments: list[str], said: str) -> None:
    message, on_helm_3 = (_refusal(*arguments, helm=helm) for helm in MAJORS)
    assert said in message
    assert on_helm_3 == message
    for trace in ("nil pointer", "wrong type for value", "can't evaluate field", "<nil>", "interface conversion"):
        assert trace not in message


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(RenderError) as refused:
        render(values=None)
    assert "3 problems" in str(refused.value)


@pytest.mark.parametrize("path", ["agent.maxCalls", "calls"])
def test_a_value_that_is_no_more_is_refused_with_what_took_its_place(path: str, tmp_path: Path) -> None:
    chart = shutil.copytree(CHART, tmp_path / CHART.name)
    instead = "set agent.slots."
    (chart / "removed.yaml").write_text(json.dumps({path: instead}))
    schema = json.loads((chart / "values.schema.json").read_text())
    admit_removed(schema, {path: instead})
    (chart / "values.schema.json").write_text(json.dumps(schema))
    render(chart=chart)
    for helm in MAJORS:
        with pytest.raises(
            RenderError, match=f"{re.escape(path)} is set, and this version has no such value: {instead}"
        ):
            render("--set", f"{path}=3", chart=chart, helm=helm)
