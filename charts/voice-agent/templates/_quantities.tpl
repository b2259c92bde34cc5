{{/*
Sizes as numbers, so that they can be compared; 0 for what is in no unit that is known.
*/}}

{{/* A Kubernetes quantity (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity). */}}
{{- define "voice-agent.quantity" -}}
{{- $units := dict "" 1 "n" 1e-9 "u" 1e-6 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 -}}
{{- include "voice-agent.inUnits" (dict "size" . "units" $units) -}}
{{- end -}}

{{/* Bytes of a size as Valkey writes it: `k` is 1000 and `kb` is 1024 (https://valkey.io/topics/valkey.conf). */}}
{{- define "voice-agent.valkeyBytes" -}}
{{- $units := dict "" 1 "k" 1e3 "m" 1e6 "g" 1e9 "kb" 1024 "mb" 1048576 "gb" 1073741824 -}}
{{- include "voice-agent.inUnits" (dict "size" (lower .) "units" $units) -}}
{{- end -}}

{{/* Seconds of a duration such as `15s` or `1m`. */}}
{{- define "voice-agent.durationSeconds" -}}
{{- include "voice-agent.inUnits" (dict "size" . "units" (dict "s" 1 "m" 60)) -}}
{{- end -}}

{{- define "voice-agent.inUnits" -}}
{{- $size := default 0 .size -}}
{{- if kindIs "string" $size -}}
{{- $digits := regexFind "^[0-9]+([.][0-9]+)?([eE][0-9]+)?" $size -}}
{{- $unit := trimPrefix $digits $size -}}
{{- if hasKey .units $unit -}}
{{- mulf (float64 $digits) (get .units $unit) -}}
{{- else -}}
0
{{- end -}}
{{- else -}}
{{- float64 $size -}}
{{- end -}}
{{- end -}}
