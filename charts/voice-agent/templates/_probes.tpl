{{/* What a probe can ask, as a JSON list: the handlers that `.` brings. */}}
{{- define "voice-agent.handlers" -}}
{{- pick (default dict .) "exec" "grpc" "httpGet" "tcpSocket" | keys | sortAlpha | toJson -}}
{{- end -}}

{{/* The operator's `probe`: timing, and the handler that it brings, or else `path` at `port`. */}}
{{- define "voice-agent.probe" -}}
{{- if not (include "voice-agent.handlers" .probe | fromJsonArray) }}
httpGet:
  path: {{ .path }}
  port: {{ .port }}
{{- end }}
{{- with .probe }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A probe of the keepers, which share the workers' timing and nothing else. */}}
{{- define "voice-agent.keeperProbe" -}}
{{- $timing := omit (default dict .probe) "exec" "grpc" "httpGet" "tcpSocket" -}}
{{- include "voice-agent.probe" (dict "probe" $timing "path" .path "port" "keeper") -}}
{{- end -}}

{{/* Names of the ports that the values add to the worker's container, as a JSON list. */}}
{{- define "voice-agent.extraPortNames" -}}
{{- $names := list -}}
{{- range include "voice-agent.filledIn" (dict "root" . "list" .Values.extraPorts) | fromJsonArray -}}
{{- $names = append $names (get . "name") -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}
