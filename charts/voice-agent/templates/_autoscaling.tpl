{{/* How many pods calls need. */}}

{{/* A value as text: a number without an exponent. */}}
{{- define "voice-agent.text" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* Thousandths of a call that a pod shall have. */}}
{{- define "voice-agent.targetMilliCalls" -}}
{{- with .Values.autoscaling.calls.targetPerPod -}}
{{- mul (. | int64) 1000 -}}
{{- else -}}
{{- mul (.Values.agent.slots | int64) 750 -}}
{{- end -}}
{{- end -}}

{{/* The same as a Kubernetes quantity, written as the API server writes it, so that GitOps sees no difference. */}}
{{- define "voice-agent.targetCalls" -}}
{{- $milli := include "voice-agent.targetMilliCalls" . | int64 -}}
{{- if mod $milli 1000 -}}
{{- printf "%dm" $milli -}}
{{- else -}}
{{- div $milli 1000 -}}
{{- end -}}
{{- end -}}

{{/* What selects this release's series of the external metric, as JSON. */}}
{{- define "voice-agent.externalMatchLabels" -}}
{{- $external := .Values.autoscaling.external -}}
{{- $labels := dict -}}
{{- if $external.matchLabels -}}
{{- range $name, $value := $external.matchLabels -}}
{{- $_ := set $labels $name (tpl (include "voice-agent.text" $value) $) -}}
{{- end -}}
{{- else if hasPrefix "prometheus.googleapis.com|" (default "" $external.metricName) -}}
{{- $_ := set $labels "resource.labels.namespace" (include "voice-agent.namespace" .) -}}
{{- if eq .Values.telemetry.metrics.monitor "podMonitoring" -}}
{{- $_ := set $labels "resource.labels.job" (include "voice-agent.workerName" .) -}}
{{- end -}}
{{- end -}}
{{- toJson $labels -}}
{{- end -}}

{{- define "voice-agent.callsQuery" -}}
{{- if .Values.autoscaling.keda.query -}}
{{- tpl .Values.autoscaling.keda.query . -}}
{{- else -}}
sum(voice_agent_call_slots_taken{{ printf "{%s}" (include "voice-agent.podMatchers" (dict "root" . "component" "worker")) }})
{{- end -}}
{{- end -}}

{{- define "voice-agent.callScalingProblems" -}}
{{- $problems := list -}}
{{- $v := .Values -}}
{{- $scaling := $v.autoscaling -}}
{{- if and $scaling.enabled (ne $scaling.mode "cpu") -}}
{{- $slots := $v.agent.slots | int64 -}}
{{- $target := $scaling.calls.targetPerPod | int64 -}}
{{- /* No more calls come than there are slots, and an autoscaler overlooks a tenth. */ -}}
{{- if ge (mul 11 $target) (mul 10 $slots) -}}
{{- $most := div (sub (mul 10 $slots) 1) 11 -}}
{{- $fix := ternary "Leave it out" (printf "Set it to at most %d" $most) (eq $most 0) -}}
{{- $problems = append $problems (printf "autoscaling.calls.targetPerPod is %d, but agent.slots is %d, and an autoscaler overlooks a difference of a tenth: a full fleet would not grow. %s, or raise agent.slots." $target $slots $fix) -}}
{{- end -}}
{{- $ownMetric := false -}}
{{- if eq $scaling.mode "external" -}}
{{- $ownMetric = contains "voice_agent_call_slots_taken" (default "" $scaling.external.metricName) -}}
{{- if not $scaling.external.metricName -}}
{{- $problems = append $problems "autoscaling.mode is external, but autoscaling.external.metricName is not set. Name the metric whose sum is the number of calls, or leave it out for Managed Prometheus' name of the workers' own." -}}
{{- else if regexMatch "[/%]" $scaling.external.metricName -}}
{{- $problems = append $problems (printf "autoscaling.external.metricName is %q, and Kubernetes accepts neither / nor %% in it. Write | for /, as the Custom Metrics Stackdriver Adapter names metrics." $scaling.external.metricName) -}}
{{- end -}}
{{- else -}}
{{- $ownMetric = not $scaling.keda.query -}}
{{- if not $scaling.keda.serverAddress -}}
{{- $problems = append $problems "autoscaling.mode is keda, but autoscaling.keda.serverAddress is not set. Set it to your Prometheus, for example http://prometheus-operated.monitoring:9090, or set autoscaling.mode to cpu." -}}
{{- else if not (regexMatch "^https?://[^/?#\\s]+" $scaling.keda.serverAddress) -}}
{{- $problems = append $problems (printf "autoscaling.keda.serverAddress is %q, which is not a URL. Begin it with http:// or https://." $scaling.keda.serverAddress) -}}
{{- end -}}
{{- range list "serverAddress" "query" "threshold" "ignoreNullValues" -}}
{{- if hasKey (default dict $scaling.keda.metadata) . -}}
{{- $problems = append $problems (printf "autoscaling.keda.metadata.%s is set, but the chart sets it itself. Leave it out; address, query and target have values of their own: autoscaling.keda.serverAddress, autoscaling.keda.query, autoscaling.calls.targetPerPod." .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $v.command $ownMetric -}}
{{- $problems = append $problems (printf "autoscaling.mode is %s, but command is %s, and only the image's worker tells of its calls. Set autoscaling.mode to cpu, or name what your command tells in autoscaling.external.metricName or autoscaling.keda.query." $scaling.mode (join " " $v.command | quote)) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}
