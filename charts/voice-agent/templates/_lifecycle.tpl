{{/*
Seconds that the preStop hook sleeps, as far as values tell: by its `sleep` action or a `sleep N` in its command.
The kubelet sends SIGTERM, which starts the drain, only after the hook
(https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/#hook-handler-execution).
*/}}
{{- define "voice-agent.preStopSeconds" -}}
{{- $hook := default dict (default dict .Values.lifecycle).preStop -}}
{{- $seconds := get (default dict $hook.sleep) "seconds" -}}
{{- if not $seconds -}}
{{- $words := get (default dict $hook.exec) "command" | default list | join " " -}}
{{- $seconds = regexFind "\\bsleep +[0-9]+" $words | regexFind "[0-9]+" -}}
{{- end -}}
{{- $seconds | int64 -}}
{{- end -}}
