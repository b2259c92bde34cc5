{{/* The agent image's reference. */}}
{{- define "voice-agent.image" -}}
{{- include "voice-agent.imageReference" (dict "root" . "image" .Values.image "tag" .Chart.AppVersion) -}}
{{- end -}}

{{/* The reference of `image`, with the tag `tag` where it names none; a digest wins over a tag. */}}
{{- define "voice-agent.imageReference" -}}
{{- $registry := default .image.registry (dig "imageRegistry" "" (default dict .root.Values.global)) -}}
{{- $repository := .image.repository -}}
{{- if $registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" $registry) $repository -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .tag .image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "voice-agent.imagePullSecrets" -}}
{{- $global := dig "imagePullSecrets" list (default dict .Values.global) | default list -}}
{{- with concat $global (default list .Values.image.pullSecrets) }}
imagePullSecrets:
  {{- range . }}
  - name: {{ kindIs "string" . | ternary . (get (kindIs "map" . | ternary . dict) "name") | toYaml }}
  {{- end }}
{{- end }}
{{- end -}}
