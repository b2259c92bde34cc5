{{/* Problems with where credentials come from, as a JSON list. */}}
{{- define "voice-agent.secretProblems" -}}
{{- $problems := list -}}
{{- $v := .Values -}}
{{- $credentials := include "voice-agent.credentials" . | fromJson -}}

{{- if not (or $v.livekit.existingSecret.name $credentials.LIVEKIT_API_KEY.resource $credentials.LIVEKIT_API_SECRET.resource) -}}
{{- $problems = append $problems (printf "livekit.existingSecret.name is not set. Make a Secret and name it there: kubectl -n %s create secret generic livekit-credentials --from-literal=%s=KEY --from-literal=%s=SECRET" (include "voice-agent.namespace" .) $v.livekit.existingSecret.apiKeyKey $v.livekit.existingSecret.apiSecretKey) -}}
{{- end -}}

{{- if $v.gemini.enabled -}}
{{- $key := $v.gemini.apiKey.existingSecret -}}
{{- if and $v.gemini.vertexai.enabled $key.name -}}
{{- $problems = append $problems (printf "gemini.vertexai.enabled is true and gemini.apiKey.existingSecret.name is %q: the worker uses one or the other. Empty the one that you do not want." $key.name) -}}
{{- end -}}
{{- range $at, $name := dict "secretManager.secrets.gemini.apiKey" (ternary $v.secretManager.secrets.gemini.apiKey "" $v.secretManager.enabled) "externalSecrets.remote.gemini.apiKey" (ternary $v.externalSecrets.remote.gemini.apiKey "" $v.externalSecrets.enabled) -}}
{{- if and $v.gemini.vertexai.enabled $name -}}
{{- $problems = append $problems (printf "gemini.vertexai.enabled is true and %s is %q: the worker uses one or the other. Empty the one that you do not want." $at $name) -}}
{{- end -}}
{{- end -}}
{{- if not (or $v.gemini.vertexai.enabled $key.name (dig "GOOGLE_API_KEY" "resource" "" $credentials)) -}}
{{- $problems = append $problems (printf "gemini has no credentials. Set gemini.vertexai.enabled=true and gemini.vertexai.project, or make a Secret and name it in gemini.apiKey.existingSecret.name: kubectl -n %s create secret generic gemini-api-key --from-literal=%s=KEY. If your agent brings another model, set gemini.enabled=false." (include "voice-agent.namespace" .) $key.key) -}}
{{- end -}}
{{- end -}}

{{- $external := $v.externalSecrets -}}
{{- if and $external.enabled (not $external.storeRef.name) -}}
{{- $problems = append $problems "externalSecrets.enabled is true, but externalSecrets.storeRef.name is not set. Set it to your SecretStore or ClusterSecretStore, or set externalSecrets.enabled=false." -}}
{{- end -}}
{{- $read := list -}}
{{- range $credentials -}}
{{- $read = append $read .group -}}
{{- end -}}
{{- $unread := dict "gemini" "gemini.enabled is false, or gemini.vertexai.enabled is true" "state" "keeper.enabled is false" "redis" (printf "state.store is %s" $v.state.store) -}}
{{- range $key, $groups := dict "externalSecrets.remote" (ternary $external.remote dict $external.enabled) "secretManager.secrets" (ternary $v.secretManager.secrets dict $v.secretManager.enabled) -}}
{{- range $group, $parts := $groups -}}
{{- if and (values $parts | compact) (not (has $group $read)) (not (and (eq $group "gemini") $v.gemini.enabled $v.gemini.vertexai.enabled)) -}}
{{- $problems = append $problems (printf "%s.%s is set, but %s: nothing would read it. Empty it." $key $group (get $unread $group)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $remotes := list -}}
{{- range $external.remote -}}
{{- $remotes = concat $remotes (values . | compact) -}}
{{- end -}}
{{- if and $external.enabled (not $remotes) -}}
{{- $problems = append $problems "externalSecrets.enabled is true, but externalSecrets.remote names no secret. Name there where the store has each, for example externalSecrets.remote.livekit.apiKey, or set externalSecrets.enabled=false." -}}
{{- end -}}
{{- $made := list -}}
{{- range (ternary (include "voice-agent.externalSecrets" . | fromJsonArray) list $external.enabled) -}}
{{- $remote := get $external.remote .from -}}
{{- $named := values $remote | compact -}}
{{- if and $named .mounted (not .name) -}}
{{- $problems = append $problems (printf "externalSecrets.remote.%s and secretManager.secrets.%s are both set: pods read one. Empty the one that you do not want." .from .from) -}}
{{- else if and $named (not .name) -}}
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
{{- if $v.secretManager.enabled -}}
{{- $problems = concat $problems (include "voice-agent.secretManagerProblems" . | fromJsonArray) -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "voice-agent.secretManagerProblems" -}}
{{- $problems := list -}}
{{- $v := .Values -}}
{{- $names := list -}}
{{- range $group, $parts := $v.secretManager.secrets -}}
{{- range $part, $name := $parts -}}
{{- if $name -}}
{{- $names = append $names $name -}}
{{- else if values $parts | compact -}}
{{- $problems = append $problems (printf "secretManager.secrets.%s.%s is not set, and is needed with the rest of secretManager.secrets.%s. Set it, or empty the rest." $group $part $group) -}}
{{- end -}}
{{- if and $name (not $v.secretManager.project) (not (hasPrefix "projects/" $name)) -}}
{{- $problems = append $problems (printf "secretManager.secrets.%s.%s is %q, but secretManager.project is not set. Set it to the project whose Secret Manager has it, or write projects/PROJECT/secrets/%s/versions/latest." $group $part $name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not $names -}}
{{- $problems = append $problems "secretManager.enabled is true, but secretManager.secrets names no secret. Name there what pods are to read from Secret Manager, for example secretManager.secrets.livekit.apiKey, or set secretManager.enabled=false." -}}
{{- end -}}

{{- $secrets := dict -}}
{{- range include "voice-agent.credentials" . | fromJson -}}
{{- if and .resource .secret -}}
{{- $_ := set $secrets .at . -}}
{{- end -}}
{{- end -}}
{{- range $at, $each := $secrets -}}
{{- if and $v.state.valkey.enabled (eq .group "redis") -}}
{{- $problems = append $problems "state.valkey.enabled is true, and secretManager.secrets.redis.password is set, but the chart's Valkey takes its password from a Secret. Empty secretManager.secrets.redis.password; state.redis.existingSecret.name is enough." -}}
{{- else -}}
{{- $problems = append $problems (printf "secretManager.secrets.%s is set and %s.name is %q: pods read one. Empty the one that you do not want." .group .at .secret) -}}
{{- end -}}
{{- end -}}

{{- range $reader, $account := dict "worker" "serviceAccount" "keeper" "keeper.serviceAccount" -}}
{{- $name := include (ternary "voice-agent.keeperServiceAccount" "voice-agent.serviceAccountName" (eq $reader "keeper")) $ -}}
{{- if and (eq $name "default") (include "voice-agent.mountedSecrets" (dict "root" $ "reader" $reader)) -}}
{{- $problems = append $problems (printf "secretManager.enabled is true, but the ServiceAccount by which %ss would read their secrets is the namespace's default, which any pod may use. Set %s.create=true, or %s.name to one of their own." $reader $account $account) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}
