{{/* What the worker's pods and the helm test's pod have in common. */}}

{{/* How LiveKit is reached, by workers and keepers. */}}
{{- define "voice-agent.livekitEnv" -}}
- name: LIVEKIT_URL
  value: {{ .Values.livekit.url | quote }}
{{- range list "LIVEKIT_API_KEY" "LIVEKIT_API_SECRET" }}
{{- include "voice-agent.credentialEnv" (dict "root" $ "variable" .) }}
{{- end }}
{{- end -}}

{{- define "voice-agent.podEnv" -}}
- name: LOG_LEVEL
  value: {{ .Values.telemetry.logs.level | quote }}
- name: LOG_FORMAT
  value: {{ .Values.telemetry.logs.format | quote }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- end -}}

{{/* The environment, as voice_agent.settings reads it. Empty values are left out: the image's defaults hold. */}}
{{- define "voice-agent.env" -}}
{{ include "voice-agent.livekitEnv" . }}
- name: AGENT_NAME
  value: {{ .Values.agent.name | quote }}
- name: AGENT_CLASS
  value: {{ .Values.agent.class | quote }}
- name: CALL_SLOTS
  value: {{ .Values.agent.slots | int64 | quote }}
- name: IDLE_PROCESSES
  value: {{ .Values.agent.idleProcesses | int64 | quote }}
- name: CALL_MEMORY_LIMIT_MIB
  value: {{ .Values.agent.callMemoryLimitMiB | int64 | quote }}
- name: VAD
  value: {{ .Values.agent.vad | quote }}
{{- with .Values.gemini }}
{{- if .enabled }}
{{- if .model }}
- name: GEMINI_MODEL
  value: {{ .model | quote }}
{{- end }}
{{- if .voice }}
- name: GEMINI_VOICE
  value: {{ .voice | quote }}
{{- end }}
{{- if .baseUrl }}
- name: GEMINI_BASE_URL
  value: {{ .baseUrl | quote }}
{{- end }}
{{- if .vertexai.enabled }}
- name: GOOGLE_GENAI_USE_VERTEXAI
  value: "true"
- name: GOOGLE_CLOUD_PROJECT
  value: {{ .vertexai.project | quote }}
- name: GOOGLE_CLOUD_LOCATION
  value: {{ .vertexai.location | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- include "voice-agent.credentialEnv" (dict "root" . "variable" "GOOGLE_API_KEY") }}
- name: DRAIN_TIMEOUT_SECONDS
  value: {{ include "voice-agent.drainTimeoutSeconds" . | quote }}
- name: DRAIN_FINISH_WITHIN_SECONDS
  value: {{ .Values.drain.finishWithinSeconds | int64 | quote }}
{{- if .Values.keeper.enabled }}
- name: KEEPER_URL
  value: {{ include "voice-agent.keeperUrl" . | quote }}
- name: KEEPER_TOKEN_FILE
  value: {{ include "voice-agent.keeperTokenFile" . | quote }}
- name: RECOVERY_LINE
  value: {{ .Values.keeper.recoveryLine | quote }}
{{- include "voice-agent.credentialEnv" (dict "root" . "variable" "STATE_KEYS") }}
{{- end }}
- name: OTEL_TRACES_EXPORTER
  value: {{ .Values.telemetry.traces.exporter | quote }}
{{- if eq .Values.telemetry.traces.exporter "otlp" }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .Values.telemetry.traces.otlpEndpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ .Values.telemetry.traces.otlpProtocol | quote }}
{{- end }}
{{ include "voice-agent.podEnv" . }}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- with .Values.extraEnv }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end -}}

{{- define "voice-agent.volumeMounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.keeper.enabled }}
{{ include "voice-agent.keeperTokenMount" . }}
{{- end }}
{{- with include "voice-agent.credentialsMount" (dict "root" . "reader" "worker") }}
{{ . }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end -}}

{{- define "voice-agent.volumes" -}}
- name: tmp
  emptyDir: {}
{{- if .Values.keeper.enabled }}
{{ include "voice-agent.keeperTokenVolume" . }}
{{- end }}
{{- with include "voice-agent.credentialsVolume" (dict "root" . "reader" "worker") }}
{{ . }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end -}}

{{/* The container without its name, arguments, probes and ports. */}}
{{- define "voice-agent.container" -}}
image: {{ include "voice-agent.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
# The reason of a failed start is then part of the pod's status: `kubectl describe` shows it.
terminationMessagePolicy: FallbackToLogsOnError
env:
  {{- include "voice-agent.env" . | nindent 2 }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- tpl (toYaml .) $ | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  {{- include "voice-agent.volumeMounts" . | nindent 2 }}
{{- end -}}

{{/* How names are looked up, by workers, keepers and the helm test. */}}
{{- define "voice-agent.dns" -}}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where the pod may run. */}}
{{- define "voice-agent.scheduling" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | toYaml }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . | toYaml }}
{{- end }}
{{- with include "voice-agent.workerNodeSelector" . }}
nodeSelector:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
