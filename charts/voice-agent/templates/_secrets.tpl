{{/* Where workers and keepers get their credentials from. */}}

{{/*
The credentials that are read, as a JSON map by variable: each with the group and the part by which `externalSecrets.remote`
and `secretManager.secrets` call it, the Secret and the key that the values name, who reads it, and the resource in Secret
Manager that is mounted in the Secret's place; empty for none.
*/}}
{{- define "voice-agent.credentials" -}}
{{- $v := .Values -}}
{{- $readers := ternary (list "worker" "keeper") (list "worker") $v.keeper.enabled -}}
{{- $secret := $v.livekit.existingSecret -}}
{{- $found := dict
  "LIVEKIT_API_KEY" (dict "group" "livekit" "part" "apiKey" "at" "livekit.existingSecret" "secret" $secret.name "key" $secret.apiKeyKey "readers" $readers)
  "LIVEKIT_API_SECRET" (dict "group" "livekit" "part" "apiSecret" "at" "livekit.existingSecret" "secret" $secret.name "key" $secret.apiSecretKey "readers" $readers) -}}
{{- if and $v.gemini.enabled (not $v.gemini.vertexai.enabled) -}}
{{- $secret = $v.gemini.apiKey.existingSecret -}}
{{- $_ := set $found "GOOGLE_API_KEY" (dict "group" "gemini" "part" "apiKey" "at" "gemini.apiKey.existingSecret" "secret" $secret.name "key" $secret.key "readers" (list "worker")) -}}
{{- end -}}
{{- if $v.keeper.enabled -}}
{{- $secret = $v.state.encryption.existingSecret -}}
{{- $_ := set $found "STATE_KEYS" (dict "group" "state" "part" "keys" "at" "state.encryption.existingSecret" "secret" $secret.name "key" $secret.key "readers" (list "worker")) -}}
{{- end -}}
{{- if eq $v.state.store "redis" -}}
{{- $secret = $v.state.redis.existingSecret -}}
{{- $_ := set $found "REDIS_PASSWORD" (dict "group" "redis" "part" "password" "at" "state.redis.existingSecret" "secret" $secret.name "key" $secret.passwordKey "readers" (list "keeper")) -}}
{{- end -}}
{{- range $found -}}
{{- $name := ternary (get (get $v.secretManager.secrets .group) .part) "" $v.secretManager.enabled -}}
{{- if and $name (not (hasPrefix "projects/" $name)) -}}
{{- $name = printf "projects/%s/secrets/%s/versions/latest" $v.secretManager.project $name -}}
{{- end -}}
{{- $_ := set . "resource" $name -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* The environment variable of one credential, if it is from anywhere. */}}
{{- define "voice-agent.credentialEnv" -}}
{{- with get (include "voice-agent.credentials" .root | fromJson) .variable -}}
{{- if .resource }}
- name: {{ $.variable }}_FILE
  value: {{ printf "%s/%s" (include "voice-agent.credentialsFolder" $) (include "voice-agent.credentialFile" $.variable) }}
{{- else if .secret }}
- name: {{ $.variable }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret | quote }}
      key: {{ .key | quote }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "voice-agent.credentialsFolder" -}}
/var/run/secrets/voice-agent/credentials
{{- end -}}

{{- define "voice-agent.credentialFile" -}}
{{- . | lower | replace "_" "-" -}}
{{- end -}}

{{/* What Secret Manager's add-on mounts for one reader, `worker` or `keeper`, as it wants to be told; empty for nothing. */}}
{{- define "voice-agent.mountedSecrets" -}}
{{- range $variable, $each := include "voice-agent.credentials" .root | fromJson -}}
{{- if and .resource (has $.reader .readers) }}
- resourceName: {{ .resource }}
  path: {{ include "voice-agent.credentialFile" $variable }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "voice-agent.credentialsMount" -}}
{{- if include "voice-agent.mountedSecrets" . -}}
- name: credentials
  mountPath: {{ include "voice-agent.credentialsFolder" . }}
  readOnly: true
{{- end -}}
{{- end -}}

{{- define "voice-agent.credentialsVolume" -}}
{{- if include "voice-agent.mountedSecrets" . -}}
- name: credentials
  csi:
    driver: secrets-store-gke.csi.k8s.io
    readOnly: true
    volumeAttributes:
      secretProviderClass: {{ include (printf "voice-agent.%sName" .reader) .root }}
{{- end -}}
{{- end -}}

{{/* Pods begin to read another secret, or another version of it, when they start. */}}
{{- define "voice-agent.credentialsChecksum" -}}
{{- with include "voice-agent.mountedSecrets" . -}}
{{- dict "checksum/credentials" (sha256sum .) | toJson -}}
{{- end -}}
{{- end -}}

{{/*
Secrets that the values name and an External Secrets store fills, as a JSON list: each with its name, the key of
`externalSecrets` that says where its contents are, and the keys that the chart reads.
*/}}
{{- define "voice-agent.externalSecrets" -}}
{{- $secrets := list -}}
{{- $credentials := include "voice-agent.credentials" . | fromJson -}}
{{- range $group := list "livekit" "gemini" "state" "redis" -}}
{{- $secret := dict "from" $group "keys" dict -}}
{{- range $credentials -}}
{{- if eq .group $group -}}
{{- $secret = merge (dict "at" (printf "%s.name" .at) "name" .secret "mounted" .resource "keys" (dict .key .part)) $secret -}}
{{- end -}}
{{- end -}}
{{- if $secret.keys -}}
{{- $secrets = append $secrets $secret -}}
{{- end -}}
{{- end -}}
{{- toJson $secrets -}}
{{- end -}}

{{/* What lets each reader's ServiceAccount read what it mounts, as commands. */}}
{{- define "voice-agent.secretGrants" -}}
{{- $ns := include "voice-agent.namespace" . -}}
{{- $google := default (get .Values.serviceAccount.annotations "iam.gke.io/gcp-service-account") .Values.serviceAccount.workloadIdentity.gcpServiceAccount -}}
{{- $accounts := dict
  "worker" (dict "name" (include "voice-agent.serviceAccountName" .) "google" $google)
  "keeper" (dict "name" (include "voice-agent.keeperServiceAccount" .) "google" (get .Values.keeper.serviceAccount.annotations "iam.gke.io/gcp-service-account")) -}}
{{- $credentials := include "voice-agent.credentials" . | fromJson -}}
{{- range $reader, $account := $accounts -}}
{{- $names := list -}}
{{- range $credentials -}}
{{- if and .resource (has $reader .readers) -}}
{{- $names = append $names (regexReplaceAll "/versions/.*$" .resource "") -}}
{{- end -}}
{{- end -}}
{{- if $names -}}
{{- $member := printf "principal://iam.googleapis.com/projects/CLUSTER_PROJECT_NUMBER/locations/global/workloadIdentityPools/CLUSTER_PROJECT.svc.id.goog/subject/ns/%s/sa/%s" $ns $account.name -}}
{{- with $account.google }}{{ $member = printf "serviceAccount:%s" . }}{{ end }}
for secret in {{ join " " $names }}; do
  gcloud secrets add-iam-policy-binding $secret --role=roles/secretmanager.secretAccessor \
    --member={{ $member }}
done
{{- end -}}
{{- end -}}
{{- end -}}
