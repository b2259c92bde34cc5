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

{{/* The environment, as voice_agent.settings.keeper reads it. */}}
{{- define "voice-agent.keeperEnv" -}}
{{ include "voice-agent.livekitEnv" . }}
{{ include "voice-agent.podEnv" . }}
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: KEEPER_PEERS
  value: {{ include "voice-agent.keeperUrl" . | quote }}
- name: KEEPER_TOKEN_FILE
  value: {{ include "voice-agent.keeperTokenFile" . | quote }}
- name: LEASE_NAME
  value: {{ include "voice-agent.keeperName" . | quote }}
- name: FLEET_SERVICE_ACCOUNTS
  value: {{ printf "%s,%s" (include "voice-agent.serviceAccountName" .) (include "voice-agent.keeperServiceAccount" .) | quote }}
- name: FLEET_SELECTOR
  value: {{ range $index, $label := include "voice-agent.workerSelector" . | splitList "\n" }}{{ if $index }},{{ end }}{{ $label | replace ": " "=" | replace "\"" "" }}{{ end }}
- name: AGENT_NAME
  value: {{ .Values.agent.name | quote }}
- name: CALL_SLOTS
  value: {{ .Values.agent.slots | int64 | quote }}
- name: STATE_STORE
  value: {{ .Values.state.store | quote }}
{{- if eq .Values.state.store "redis" }}
{{- with .Values.state.redis }}
- name: REDIS_URL
  value: {{ include "voice-agent.redisUrl" $ | quote }}
{{- include "voice-agent.credentialEnv" (dict "root" $ "variable" "REDIS_PASSWORD") }}
{{- if .ca.secretName }}
- name: REDIS_CA_FILE
  value: /var/run/secrets/voice-agent/redis/{{ .ca.key }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.keeper.extraEnv }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end -}}
