{{/* What is scraped, how its series are selected, and whether the cluster knows the kinds that say so. */}}

{{- define "voice-agent.monitoringLabels" -}}
{{ include "voice-agent.releaseSelector" . }}
app.kubernetes.io/component: monitoring
{{ include "voice-agent.objectLabels" . }}
{{- end -}}

{{/* The components with metrics, as a JSON list, each with the port that serves them. */}}
{{- define "voice-agent.monitored" -}}
{{- $monitored := list (dict "component" "worker" "port" "metrics") -}}
{{- if .Values.keeper.enabled -}}
{{- $monitored = append $monitored (dict "component" "keeper" "port" "keeper") -}}
{{- end -}}
{{- toJson $monitored -}}
{{- end -}}

{{/* The API of the monitor that is wanted, as Capabilities name it; empty for none. */}}
{{- define "voice-agent.monitorApi" -}}
{{- get (dict "podMonitor" "monitoring.coreos.com/v1/PodMonitor" "serviceMonitor" "monitoring.coreos.com/v1/ServiceMonitor" "podMonitoring" "monitoring.googleapis.com/v1/PodMonitoring") .Values.telemetry.metrics.monitor -}}
{{- end -}}

{{/* The API of the rules that are wanted, likewise: Managed Prometheus has a kind of its own. */}}
{{- define "voice-agent.rulesApi" -}}
{{- if .Values.telemetry.metrics.rules.enabled -}}
{{- ternary "monitoring.googleapis.com/v1/Rules" "monitoring.coreos.com/v1/PrometheusRule" (eq .Values.telemetry.metrics.monitor "podMonitoring") -}}
{{- end -}}
{{- end -}}

{{/* `api`, if objects of it are to be rendered. */}}
{{- define "voice-agent.renderedApi" -}}
{{- if and .api (or (ne .root.Values.telemetry.metrics.renderMode "skipIfMissing") (.root.Capabilities.APIVersions.Has .api)) -}}
{{- .api -}}
{{- end -}}
{{- end -}}

{{- define "voice-agent.renderedMonitorApi" -}}
{{- include "voice-agent.renderedApi" (dict "root" . "api" (include "voice-agent.monitorApi" .)) -}}
{{- end -}}

{{- define "voice-agent.renderedRulesApi" -}}
{{- include "voice-agent.renderedApi" (dict "root" . "api" (include "voice-agent.rulesApi" .)) -}}
{{- end -}}

{{/*
PromQL matchers of the series of one component's pods. A Deployment's pods are called after it, cut so that what
Kubernetes appends fits (k8s.io/apiserver/pkg/storage/names: 58 characters stay).
*/}}
{{- define "voice-agent.podMatchers" -}}
namespace={{ include "voice-agent.namespace" .root | quote }},pod=~"{{ printf "%s-" (include (printf "voice-agent.%sName" .component) .root) | trunc 58 }}.+"
{{- end -}}

{{/*
PromQL for how often something happened lately, by its counter's `series` in `matchers`. A counter with labels begins to
exist with the first event, and `increase` sees no rise in that.
*/}}
{{- define "voice-agent.happened" -}}
{{- $series := printf "%s{%s}" .counter .matchers -}}
{{- printf "sum%s ((max_over_time(%s[15m]) unless %s offset 15m) or increase(%s[15m])) > 0" (ternary (printf " by (%s)" .by) "" (ne (default "" .by) "")) $series $series $series -}}
{{- end -}}

{{- define "voice-agent.monitoringProblems" -}}
{{- $problems := list -}}
{{- $metrics := .Values.telemetry.metrics -}}
{{- if eq $metrics.renderMode "failIfMissing" -}}
{{- range list (list "monitor" $metrics.monitor (include "voice-agent.monitorApi" .)) (list "rules.enabled" "true" (include "voice-agent.rulesApi" .)) -}}
{{- $api := index . 2 -}}
{{- if and $api (not ($.Capabilities.APIVersions.Has $api)) -}}
{{- $problems = append $problems (printf "telemetry.metrics.%s is %s, but the cluster does not know %s, and telemetry.metrics.renderMode is failIfMissing. Install its CRDs, or set telemetry.metrics.renderMode to skipIfMissing; for helm template, name it by --api-versions %s." (index . 0) (index . 1) $api $api) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $metrics.scrapeTimeout -}}
{{- if gt (include "voice-agent.durationSeconds" . | float64) (include "voice-agent.durationSeconds" $metrics.interval | float64) -}}
{{- $problems = append $problems (printf "telemetry.metrics.scrapeTimeout is %s and telemetry.metrics.interval is %s; Prometheus refuses a timeout beyond the interval. Set it to at most %s." . $metrics.interval $metrics.interval) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $metrics.monitor "podMonitoring") $metrics.relabelings -}}
{{- $problems = append $problems "telemetry.metrics.relabelings is set, but telemetry.metrics.monitor is podMonitoring, and Managed Prometheus has none. Empty it, and relabel samples by telemetry.metrics.metricRelabelings." -}}
{{- end -}}
{{- if and .Values.command $metrics.rules.enabled -}}
{{- $problems = append $problems (printf "telemetry.metrics.rules.enabled is true, but command is %s, and the alerts are about metrics of the image's own worker. Set telemetry.metrics.rules.enabled=false; alerts of your own can be in extraObjects." (join " " .Values.command | quote)) -}}
{{- end -}}
{{- if and .Values.command (ne $metrics.monitor "none") -}}
{{- if not (include "voice-agent.extraPortNames" . | fromJsonArray | has "metrics") -}}
{{- $problems = append $problems (printf "telemetry.metrics.monitor is %s, but command is %s, and extraPorts has no port of the name metrics. Add the one where your command serves them at /metrics, or set telemetry.metrics.monitor to none." $metrics.monitor (join " " .Values.command | quote)) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{/* How an endpoint of the Prometheus Operator's monitors is scraped. */}}
{{- define "voice-agent.scrape" -}}
path: /metrics
interval: {{ .Values.telemetry.metrics.interval }}
{{- with .Values.telemetry.metrics.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .Values.telemetry.metrics.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.telemetry.metrics.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
