{{/*
Seconds from the drain deadline to the end of the process: the time that voice_agent's shutdown may take
(voice_agent.worker.drain.SHUTDOWN_SECONDS; a test compares the two).
*/}}
{{- define "voice-agent.shutdownSeconds" -}}10{{- end -}}

{{/*
Of the drain's time, what is kept for handing calls over (voice_agent.worker.drain.HAND_OVER_SECONDS; a test compares
the two), and half of it at least.
*/}}
{{- define "voice-agent.handOverSeconds" -}}12{{- end -}}

{{/* Never negative: a grace that is too short is a problem that the checks report, unless there is a `command`. */}}
{{- define "voice-agent.drainTimeoutSeconds" -}}
{{- if kindIs "invalid" .Values.drain.timeoutSeconds -}}
{{- sub (.Values.drain.gracePeriodSeconds | int64) (include "voice-agent.shutdownSeconds" . | int64) | max 0 -}}
{{- else -}}
{{- .Values.drain.timeoutSeconds | int64 -}}
{{- end -}}
{{- end -}}
