{{/* The image's reference; a digest wins over a tag. */}}
{{- define "voice-agent.image" -}}
{{- $registry := default .Values.image.registry (dig "imageRegistry" "" (default dict .Values.global)) -}}
{{- $repository := .Values.image.repository -}}
{{- if $registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" $registry) $repository -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "voice-agent.imagePullSecrets" -}}
{{- $global := dig "imagePullSecrets" (list) (default dict .Values.global) -}}
{{- with concat $global .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
