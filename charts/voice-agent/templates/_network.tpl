{{/* What NetworkPolicies let through, rule by rule. */}}

{{/* Ports that `url` names, one for each of its hosts, and `otherwise` for a host that names none, as a JSON list. */}}
{{- define "voice-agent.ports" -}}
{{- $ports := list -}}
{{- range regexFind "^[a-z]+://[^/?#]+" (default "" .url) | splitList "," -}}
{{- if . -}}
{{- $port := regexFind ":[0-9]{1,5}$" . | trimPrefix ":" | default $.otherwise | int -}}
{{- if and (gt $port 0) (lt $port 65536) -}}
{{- $ports = append $ports $port -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}

{{/* TCP ports of LiveKit's API, of the model and of spans: 443, 7880, and those that their URLs name. */}}
{{- define "voice-agent.livekitPorts" -}}
{{- $otherwise := hasPrefix "ws://" .Values.livekit.url | ternary 80 443 -}}
{{- concat (list 443 7880) (include "voice-agent.ports" (dict "url" .Values.livekit.url "otherwise" $otherwise) | fromJsonArray) | toJson -}}
{{- end -}}

{{- define "voice-agent.workerPorts" -}}
{{- $ports := concat (include "voice-agent.livekitPorts" . | fromJsonArray) (list 5349 7881) -}}
{{- $urls := list -}}
{{- if .Values.gemini.enabled -}}
{{- $urls = append $urls .Values.gemini.baseUrl -}}
{{- end -}}
{{- if eq .Values.telemetry.traces.exporter "otlp" -}}
{{- $urls = append $urls .Values.telemetry.traces.otlpEndpoint -}}
{{- end -}}
{{- range $urls -}}
{{- $otherwise := hasPrefix "http://" (default "" .) | ternary 80 443 -}}
{{- $ports = concat $ports (include "voice-agent.ports" (dict "url" . "otherwise" $otherwise) | fromJsonArray) -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}

{{/* Sentinels say where the server is: it is expected at Redis' own port. */}}
{{- define "voice-agent.redisPorts" -}}
{{- $sentinel := default "" .Values.state.redis.url | hasPrefix "sentinel" -}}
{{- $ports := include "voice-agent.ports" (dict "url" .Values.state.redis.url "otherwise" ($sentinel | ternary 26379 6379)) | fromJsonArray -}}
{{- $sentinel | ternary (append $ports 6379) $ports | toJson -}}
{{- end -}}

{{/* TCP `ports` as the entries of a rule, each once and in order. */}}
{{- define "voice-agent.tcp" -}}
{{- $once := list -}}
{{- range . -}}
{{- $once = append $once (int . | printf "%05d") -}}
{{- end -}}
{{- range $once | uniq | sortAlpha }}
- protocol: TCP
  port: {{ regexReplaceAll "^0+" . "" }}
{{- end -}}
{{- end -}}

{{- define "voice-agent.dnsEgress" -}}
- ports:
    - protocol: UDP
      port: 53
    - protocol: TCP
      port: 53
{{- end -}}

{{/* Hosts have no names here: those outside by their addresses, those in the cluster as its pods. */}}
{{- define "voice-agent.anyHost" -}}
to:
  {{- range .Values.networkPolicy.egressCIDRs }}
  - ipBlock:
      cidr: {{ . | quote }}
  {{- end }}
  - namespaceSelector: {}
{{- end -}}

{{/* Pods of the release's components `.components`. */}}
{{- define "voice-agent.peers" -}}
- podSelector:
    matchLabels:
      {{- include "voice-agent.releaseSelector" .root | nindent 6 }}
    matchExpressions:
      - key: app.kubernetes.io/component
        operator: In
        values: {{ toJson .components }}
{{- end -}}
