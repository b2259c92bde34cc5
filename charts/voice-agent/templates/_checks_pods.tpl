{{/* Problems with what pods are given: sizes and identities, as a JSON list. */}}
{{- define "voice-agent.podProblems" -}}
{{- $problems := list -}}
{{- $v := .Values -}}
{{- $sizes := dict "resources" $v.resources "keeper.resources" $v.keeper.resources "state.valkey.resources" $v.state.valkey.resources "headroom.resources" $v.headroom.resources -}}
{{- range $key, $size := $sizes -}}
{{- range $name, $limit := default dict $size.limits -}}
{{- $request := get (default dict $size.requests) $name | default 0 -}}
{{- if gt (include "voice-agent.quantity" $request | float64) (include "voice-agent.quantity" $limit | float64) -}}
{{- $problems = append $problems (printf "%s.requests.%s is %v and %s.limits.%s is %v; Kubernetes refuses a limit below its request. Set the limit to at least %v." $key $name $request $key $name $limit $request) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- $room := dig "limits" "memory" "" $v.resources -}}
{{- $call := $v.agent.callMemoryLimitMiB | int64 -}}
{{- if and $room (not $v.command) (gt (mulf $call 1048576) (include "voice-agent.quantity" $room | float64)) -}}
{{- $problems = append $problems (printf "agent.callMemoryLimitMiB is %d and resources.limits.memory is %v: the container would be killed first, with all its calls. Set agent.callMemoryLimitMiB to less than that, or resources.limits.memory to more than %dMi." $call $room $call) -}}
{{- end -}}

{{- if $v.state.valkey.enabled -}}
{{- $limit := dig "limits" "memory" "" $v.state.valkey.resources -}}
{{- $room := include "voice-agent.quantity" $limit | float64 -}}
{{- $needed := mulf 2 (include "voice-agent.valkeyBytes" $v.state.valkey.maxMemory | float64) -}}
{{- if and $limit (gt $needed $room) -}}
{{- $mebi := 1048576 -}}
{{- $problems = append $problems (printf "state.valkey.maxMemory is %s and state.valkey.resources.limits.memory is %v, but Valkey may need twice maxMemory while it writes its file anew, and would be killed. Set state.valkey.resources.limits.memory to at least %dMi, or state.valkey.maxMemory to at most %dkb." $v.state.valkey.maxMemory $limit (divf $needed $mebi | ceil | int64) (divf $room 2048 | floor | int64)) -}}
{{- end -}}
{{- end -}}

{{- if and $v.keeper.enabled (eq (include "voice-agent.serviceAccountName" .) (include "voice-agent.keeperServiceAccount" .)) -}}
{{- $problems = append $problems (printf "serviceAccount and keeper.serviceAccount are both %q: workers would have the keepers' roles. Set keeper.serviceAccount.name to another." (include "voice-agent.keeperServiceAccount" .)) -}}
{{- end -}}

{{- $account := $v.serviceAccount.workloadIdentity.gcpServiceAccount -}}
{{- $annotated := get $v.serviceAccount.annotations "iam.gke.io/gcp-service-account" -}}
{{- if and $account $annotated (ne $account $annotated) -}}
{{- $problems = append $problems (printf "serviceAccount.workloadIdentity.gcpServiceAccount is %q and serviceAccount.annotations has iam.gke.io/gcp-service-account %q: pods act as one. Leave the annotation out." $account $annotated) -}}
{{- end -}}
{{- range $v.extraEnv -}}
{{- if and (eq .name "GOOGLE_APPLICATION_CREDENTIALS") (or $account $annotated) -}}
{{- $problems = append $problems (printf "extraEnv sets GOOGLE_APPLICATION_CREDENTIALS, and the ServiceAccount acts as %s: Google's libraries would use the file only. Leave the variable out, or empty serviceAccount.workloadIdentity.gcpServiceAccount and its annotation." (default $annotated $account)) -}}
{{- end -}}
{{- end -}}

{{- if and (eq (default "" $v.dnsPolicy) "None") (not $v.dnsConfig.nameservers) -}}
{{- $problems = append $problems "dnsPolicy is None, but dnsConfig.nameservers is not set, and pods would find nothing. Set it, or leave dnsPolicy out." -}}
{{- end -}}
{{- if $v.keeper.enabled -}}
{{- if eq (default "" $v.dnsPolicy) "Default" -}}
{{- $problems = append $problems "dnsPolicy is Default, and workers find the keepers by the cluster's own names, which it leaves out. Leave dnsPolicy out, or set keeper.enabled=false." -}}
{{- end -}}
{{- if and (eq (default "" $v.dnsPolicy) "None") $v.dnsConfig.nameservers (not $v.dnsConfig.searches) -}}
{{- $problems = append $problems "dnsPolicy is None, and dnsConfig.searches is not set: workers find the keepers by a name that ends in .svc. Set it to your cluster's domain, by default cluster.local, or set keeper.enabled=false." -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}
