{{/* Problems with templates in values, as a JSON list; those that are known, for Helm would tell of a defect of the chart's. */}}
{{- define "voice-agent.templateProblems" -}}
{{- $problems := list -}}
{{- $v := .Values -}}
{{- $templated := dict "extraEnv" $v.extraEnv "extraEnvFrom" $v.extraEnvFrom "extraVolumes" $v.extraVolumes "extraVolumeMounts" $v.extraVolumeMounts "extraContainers" $v.extraContainers "initContainers" $v.initContainers "extraPorts" $v.extraPorts "extraObjects" $v.extraObjects "topologySpreadConstraints" $v.topologySpreadConstraints "keeper.extraEnv" $v.keeper.extraEnv "keeper.extraEnvFrom" $v.keeper.extraEnvFrom "networkPolicy.extraIngress" $v.networkPolicy.extraIngress "networkPolicy.extraEgress" $v.networkPolicy.extraEgress "autoscaling.keda.query" $v.autoscaling.keda.query "autoscaling.external.matchLabels" $v.autoscaling.external.matchLabels -}}
{{- range $key, $value := $templated -}}
{{- $open := false -}}
{{- $nowhere := list -}}
{{- range (ternary $value (list $value) (kindIs "slice" $value)) -}}
{{- $text := ternary . (toYaml .) (kindIs "string" .) -}}
{{- $open = or $open (regexMatch "[{][{]([^}]|[}][^}])*[}]?$" $text) -}}
{{- $nowhere = concat $nowhere (include "voice-agent.nowhere" (dict "text" $text "values" $v) | fromJsonArray) -}}
{{- end -}}
{{- if $open -}}
{{- $problems = append $problems (printf "%s opens a template by {{ and does not close it. Write }} at its end, or {{ `{{` }} for two braces that are meant." $key) -}}
{{- end -}}
{{- range $reference := $nowhere | uniq -}}
{{- $problems = append $problems (printf "%s refers to %s, but the values have no %s to look into. Correct the name, or set that value." $key $reference (regexReplaceAll "[.][^.]*$" $reference "")) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{/*
What a text's templates refer to below values that are not there, as a JSON list: Go's templates stop there, whatever
default follows. Where a condition may have asked first, nothing is said.
*/}}
{{- define "voice-agent.nowhere" -}}
{{- $nowhere := list -}}
{{- $actions := regexFindAll "[{][{]([^}]|[}][^}])*[}][}]" .text -1 | join " " -}}
{{- if not (regexMatch "\\b(if|with|range|and|or|define)\\b" $actions) -}}
{{- range $reference := regexFindAll "[.]Values([.][A-Za-z_][A-Za-z0-9_]*)+" $actions -1 -}}
{{- $at := $.values -}}
{{- range $name := trimPrefix ".Values." $reference | splitList "." | initial -}}
{{- $at = ternary (get (ternary $at dict (kindIs "map" $at)) $name) nil (kindIs "map" $at) -}}
{{- end -}}
{{- if not (kindIs "map" $at) -}}
{{- $nowhere = append $nowhere $reference -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $nowhere -}}
{{- end -}}
