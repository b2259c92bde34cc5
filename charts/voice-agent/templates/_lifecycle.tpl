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
{{- $slept := regexFind "\\bsleep +[0-9]+[smhd]?" $words -}}
{{- $unit := get (dict "m" 60 "h" 3600 "d" 86400) (regexFind "[smhd]$" $slept) | default 1 -}}
{{- /* No grace is as long as a number of six digits; one that begins with 0 would be octal. */ -}}
{{- $seconds = regexFind "[0-9]+" $slept | regexFind "[1-9][0-9]{0,5}" | int64 | mul $unit -}}
{{- end -}}
{{- $seconds | int64 -}}
{{- end -}}
