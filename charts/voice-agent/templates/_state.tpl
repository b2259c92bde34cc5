{{/* Where snapshots are kept when the keepers' memory is not enough. */}}

{{- define "voice-agent.valkeyName" -}}
{{- printf "%s-valkey" (include "voice-agent.fullname" .) -}}
{{- end -}}

{{- define "voice-agent.redisUrl" -}}
{{- if .Values.state.valkey.enabled -}}
redis://{{ include "voice-agent.valkeyName" . }}.{{ include "voice-agent.namespace" . }}.svc:6379
{{- else -}}
{{ .Values.state.redis.url }}
{{- end -}}
{{- end -}}

{{- define "voice-agent.valkeySelector" -}}
{{ include "voice-agent.releaseSelector" . }}
app.kubernetes.io/component: valkey
{{- end -}}

{{- define "voice-agent.valkeyLabels" -}}
{{ include "voice-agent.valkeySelector" . }}
{{ include "voice-agent.objectLabels" . }}
{{- end -}}
