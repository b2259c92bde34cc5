{{/* Problems with templates in values, as a JSON list; those that are known, for Helm would tell of a defect of the chart's. */}}
{{- define "voice-agent.templateProblems" -}}
{{- $problems := list -}}
{{- $v := .Values -}}
{{- $templated := dict "extraEnv" $v.extraEnv "extraEnvFrom" $v.extraEnvFrom "extraVolumes" $v.extraVolumes "extraVolumeMounts" $v.extraVolumeMounts "extraContainers" $v.extraContainers "initContainers" $v.initContainers "extraPorts" $v.extraPorts "extraObjects" $v.extraObjects "topologySpreadConstraints" $v.topologySpreadConstraints "keeper.extraEnv" $v.keeper.extraEnv "keeper.extraEnvFrom" $v.keeper.extraEnvFrom "networkPolicy.extraIngress" $v.networkPolicy.extraIngress "networkPolicy.extraEgress" $v.networkPolicy.extraEgress "autoscaling.keda.query" $v.autoscaling.keda.query "autoscaling.external.matchLabels" $v.autoscaling.external.matchLabels -}}
{{- range $key, $value := $templated -}}
{{- $open := false -}}
{{- range (ternary $value (list $value) (kindIs "slice" $value)) -}}
{{- $open = or $open (regexMatch "[{][{]([^}]|[}][^}])*[}]?$" (ternary . (toYaml .) (kindIs "string" .))) -}}
{{- end -}}
{{- if $open -}}
{{- $problems = append $problems (printf "%s opens a template by {{ and does not close it. Write }} at its end, or {{ `{{` }} for two braces that are meant." $key) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}
