{{/*
Secrets that the values name and an External Secrets store fills, as a JSON list: each with its name, the key of
`externalSecrets` that says where its contents are, and the keys that the chart reads.
*/}}
{{- define "voice-agent.externalSecrets" -}}
{{- $v := .Values -}}
{{- $livekit := $v.livekit.existingSecret -}}
{{- $secrets := list (dict "from" "livekit" "at" "livekit.existingSecret.name" "name" $livekit.name "keys" (dict $livekit.apiKeyKey "apiKey" $livekit.apiSecretKey "apiSecret")) -}}
{{- $gemini := $v.gemini.apiKey.existingSecret -}}
{{- if and $v.gemini.enabled (not $v.gemini.vertexai.enabled) -}}
{{- $secrets = append $secrets (dict "from" "gemini" "at" "gemini.apiKey.existingSecret.name" "name" $gemini.name "keys" (dict $gemini.key "apiKey")) -}}
{{- end -}}
{{- $state := $v.state.encryption.existingSecret -}}
{{- if $v.keeper.enabled -}}
{{- $secrets = append $secrets (dict "from" "state" "at" "state.encryption.existingSecret.name" "name" $state.name "keys" (dict $state.key "keys")) -}}
{{- end -}}
{{- $redis := $v.state.redis.existingSecret -}}
{{- if eq $v.state.store "redis" -}}
{{- $secrets = append $secrets (dict "from" "redis" "at" "state.redis.existingSecret.name" "name" $redis.name "keys" (dict $redis.passwordKey "password")) -}}
{{- end -}}
{{- toJson $secrets -}}
{{- end -}}

{{/* Problems with them, as a JSON list. */}}
{{- define "voice-agent.externalSecretProblems" -}}
{{- $problems := list -}}
{{- $external := .Values.externalSecrets -}}
{{- if and $external.enabled (not $external.storeRef.name) -}}
{{- $problems = append $problems "externalSecrets.enabled is true, but externalSecrets.storeRef.name is not set. Set it to your SecretStore or ClusterSecretStore, or set externalSecrets.enabled=false." -}}
{{- end -}}
{{- $made := list -}}
{{- range (ternary (include "voice-agent.externalSecrets" . | fromJsonArray) list $external.enabled) -}}
{{- $remote := get $external.remote .from -}}
{{- $named := values $remote | compact -}}
{{- if and $named (not .name) -}}
{{- $problems = append $problems (printf "externalSecrets.remote.%s is set, but %s is not. Set it to the name that the Secret is to have." .from .at) -}}
{{- end -}}
{{- if and $named (has .name $made) -}}
{{- $problems = append $problems (printf "%s is %q, and externalSecrets would make that Secret twice. Set it to a name of its own." .at .name) -}}
{{- end -}}
{{- if $named -}}
{{- $made = append $made .name -}}
{{- end -}}
{{- if and $named (lt (len $named) (len $remote)) -}}
{{- $problems = append $problems (printf "externalSecrets.remote.%s names %s only, and the Secret needs %s. Set what is missing." .from (join ", " $named) (keys $remote | sortAlpha | join " and ")) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}
