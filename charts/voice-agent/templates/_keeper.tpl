{{/* The keepers' names, and how workers reach them. */}}

{{- define "voice-agent.keeperName" -}}
{{- printf "%s-keeper" (include "voice-agent.fullname" .) -}}
{{- end -}}

{{- define "voice-agent.keeperServiceAccount" -}}
{{- $account := .Values.keeper.serviceAccount -}}
{{- default (ternary (include "voice-agent.keeperName" .) "default" $account.create) $account.name -}}
{{- end -}}

{{- define "voice-agent.keeperUrl" -}}
http://{{ include "voice-agent.keeperName" . }}.{{ include "voice-agent.namespace" . }}.svc:8090
{{- end -}}

{{- define "voice-agent.keeperSelector" -}}
{{ include "voice-agent.releaseSelector" . }}
app.kubernetes.io/component: keeper
{{- end -}}

{{- define "voice-agent.keeperLabels" -}}
{{ include "voice-agent.keeperSelector" . }}
{{ include "voice-agent.objectLabels" . }}
{{- end -}}

{{/* What shows the keepers that a pod is the fleet's: a token for them only, which the kubelet renews. */}}
{{- define "voice-agent.keeperTokenFile" -}}
/var/run/secrets/voice-agent/keeper/token
{{- end -}}

{{- define "voice-agent.keeperTokenMount" -}}
- name: keeper-token
  mountPath: {{ include "voice-agent.keeperTokenFile" . | dir }}
  readOnly: true
{{- end -}}

{{- define "voice-agent.keeperTokenVolume" -}}
- name: keeper-token
  projected:
    sources:
      - serviceAccountToken:
          audience: voice-agent-keeper
          expirationSeconds: 3600
          path: {{ include "voice-agent.keeperTokenFile" . | base }}
{{- end -}}

{{/* Cluster-wide, so the namespace is part of it. */}}
{{- define "voice-agent.keeperClusterRole" -}}
{{- printf "%s-%s-keeper" (include "voice-agent.fullname" . | trunc 47 | trimSuffix "-") (include "voice-agent.namespace" . | sha256sum | trunc 8) -}}
{{- end -}}
