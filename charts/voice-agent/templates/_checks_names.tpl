{{/* Problems with the objects that values make, their names and labels, as a JSON list. */}}
{{- define "voice-agent.nameProblems" -}}
{{- $problems := list -}}
{{- $v := .Values -}}
{{- $full := include "voice-agent.fullname" . -}}
{{- if gt (len (default "" $v.fullnameOverride)) 52 -}}
{{- $problems = append $problems (printf "fullnameOverride is %q, which has %d characters, and names that end in -worker and the like may have 63. Shorten it to 52." $v.fullnameOverride (len $v.fullnameOverride)) -}}
{{- end -}}
{{- /* https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#rfc-1035-label-names, for Services */ -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) -}}
{{- $problems = append $problems (printf "The objects' names would begin with %q, by the release's name, %q, nameOverride and fullnameOverride; names of Services begin with a letter and have letters, digits and - only. Set fullnameOverride to such a name, for example voice-agent." $full .Release.Name) -}}
{{- end -}}
{{- $selecting := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" -}}
{{- $ours := concat $selecting (list "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart") -}}
{{- $labels := dict "commonLabels" $v.commonLabels "podLabels" $v.podLabels "keeper.podLabels" $v.keeper.podLabels "state.valkey.podLabels" $v.state.valkey.podLabels "serviceAccount.labels" $v.serviceAccount.labels "keeper.serviceAccount.labels" $v.keeper.serviceAccount.labels "telemetry.metrics.labels" $v.telemetry.metrics.labels "telemetry.metrics.rules.labels" $v.telemetry.metrics.rules.labels "telemetry.metrics.dashboard.labels" $v.telemetry.metrics.dashboard.labels -}}
{{- range $key, $set := $labels -}}
{{- range $label, $value := default dict $set -}}
{{- if has $label (ternary $selecting $ours (hasSuffix "podLabels" $key)) -}}
{{- $problems = append $problems (printf "%s sets %s to %q, a label that the chart sets itself. Leave it out; nameOverride changes app.kubernetes.io/name." $key $label $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $index, $object := $v.extraObjects -}}
{{- $made := tpl (ternary $object (toYaml $object) (kindIs "string" $object)) $ -}}
{{- range regexSplit "(?m)^---([ \\t].*)?$" $made -1 -}}
{{- $parsed := fromYaml . -}}
{{- $metadata := ternary $parsed.metadata dict (kindIs "map" $parsed.metadata) -}}
{{- $name := get $metadata "name" | default (ternary $metadata.generateName "" (contains "helm.sh/hook" .)) -}}
{{- if not $parsed -}}
{{- else if not (and (kindIs "string" $parsed.apiVersion) (kindIs "string" $parsed.kind) (regexMatch "^[-./a-z0-9]{1,253} [A-Za-z0-9]{1,63}$" (printf "%s %s" $parsed.apiVersion $parsed.kind))) -}}
{{- $problems = append $problems (printf "extraObjects[%d] is %s, which has no apiVersion and kind, or is no YAML. Make it an object, as a map or as text." $index (trim . | trunc 100 | quote)) -}}
{{- else if not (or (hasSuffix "List" $parsed.kind) (and (kindIs "string" $name) (regexMatch "^[!-$&-.0-~]{1,253}$" $name))) -}}
{{- $problems = append $problems (printf "extraObjects[%d] is a %s whose metadata.name is %s. Set it to text of letters, digits, - and ., of 253 at most." $index $parsed.kind (ternary "not set" (toJson $name | trunc 100) (empty $name))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}
