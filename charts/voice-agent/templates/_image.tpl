{{/* The agent image's reference. A published chart knows the digest of the image that was published with it, and of no other. */}}
{{- define "voice-agent.image" -}}
{{- $reference := include "voice-agent.imageReference" (dict "root" . "image" .Values.image "tag" .Chart.AppVersion) -}}
{{- $published := index .Chart.Annotations "voice-agent/image" -}}
{{- $name := splitList "@" $published | first -}}
{{- eq $reference (printf "%s:%s" $name .Chart.AppVersion) | ternary $published $reference -}}
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
