{{/* Values that are no more, with what took their place, as a JSON list. */}}
{{- define "voice-agent.removedProblems" -}}
{{- $problems := list -}}
{{- range $path, $instead := .Files.Get "removed.yaml" | fromYaml -}}
{{- $value := $.Values -}}
{{- $there := true -}}
{{- range splitList "." $path -}}
{{- if and $there (kindIs "map" $value) (hasKey $value .) -}}
{{- $value = get $value . -}}
{{- else -}}
{{- $there = false -}}
{{- end -}}
{{- end -}}
{{- if $there -}}
{{- $problems = append $problems (printf "%s is set, and this version has no such value: %s" $path $instead) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}
