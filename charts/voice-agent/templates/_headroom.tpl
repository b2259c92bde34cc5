{{/* Names of the pods that keep room for workers. */}}

{{- define "voice-agent.headroomName" -}}
{{- printf "%s-headroom" (include "voice-agent.fullname" .) -}}
{{- end -}}

{{- define "voice-agent.headroomSelector" -}}
{{ include "voice-agent.releaseSelector" . }}
app.kubernetes.io/component: headroom
{{- end -}}

{{- define "voice-agent.headroomLabels" -}}
{{ include "voice-agent.headroomSelector" . }}
{{ include "voice-agent.objectLabels" . }}
{{- end -}}

{{/* Cluster-wide, so the namespace is part of it. */}}
{{- define "voice-agent.headroomPriorityClass" -}}
{{- printf "%s-%s-headroom" (include "voice-agent.fullname" . | trunc 45 | trimSuffix "-") (include "voice-agent.namespace" . | sha256sum | trunc 8) -}}
{{- end -}}
