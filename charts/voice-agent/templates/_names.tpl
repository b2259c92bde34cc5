{{/* The chart's name, as a label. */}}
{{- define "voice-agent.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The base of every object's name; cut so that the longest suffix survives 63 characters. */}}
{{- define "voice-agent.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- $name = .Values.fullnameOverride -}}
{{- else if not (contains $name .Release.Name) -}}
{{- $name = printf "%s-%s" .Release.Name $name -}}
{{- else -}}
{{- $name = .Release.Name -}}
{{- end -}}
{{- $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "voice-agent.workerName" -}}
{{- printf "%s-worker" (include "voice-agent.fullname" .) -}}
{{- end -}}

{{- define "voice-agent.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "voice-agent.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "voice-agent.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What all pods of the release are known by. */}}
{{- define "voice-agent.releaseSelector" -}}
app.kubernetes.io/name: {{ include "voice-agent.name" . | toYaml }}
app.kubernetes.io/instance: {{ .Release.Name | trunc 63 | trimSuffix "-" | toYaml }}
{{- end -}}

{{/* What selects the worker's pods: never changes between versions. */}}
{{- define "voice-agent.workerSelector" -}}
{{ include "voice-agent.releaseSelector" . }}
app.kubernetes.io/component: worker
{{- end -}}

{{/* Labels of the worker's objects. */}}
{{- define "voice-agent.workerLabels" -}}
{{ include "voice-agent.workerSelector" . }}
{{ include "voice-agent.objectLabels" . }}
{{- end -}}

{{/* Labels of every object besides those that select. */}}
{{- define "voice-agent.objectLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of the worker's pods: without the chart's version, which would restart them at every chart release. */}}
{{- define "voice-agent.workerPodLabels" -}}
{{ include "voice-agent.workerSelector" . }}
{{- with merge (dict) .Values.podLabels .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An object's labels with those that a value adds, which may be the same as the value of another has. */}}
{{- define "voice-agent.labels" -}}
{{- if .more -}}
{{- toYaml (merge (dict) .more (fromYaml .labels)) -}}
{{- else -}}
{{- .labels -}}
{{- end -}}
{{- end -}}

{{/* A number or a percentage; large numbers would be printed as floats. */}}
{{- define "voice-agent.numberOrPercentage" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ . | int64 }}{{ end -}}
{{- end -}}
