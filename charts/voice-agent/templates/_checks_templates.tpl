{{/* Problems with templates in values, as a JSON list; those that are known, for Helm would tell of a defect of the chart's. */}}
{{- define "voice-agent.templateProblems" -}}
{{- $problems := list -}}
{{- $v := .Values -}}
{{- $templated := dict "extraEnv" $v.extraEnv "extraEnvFrom" $v.extraEnvFrom "extraVolumes" $v.extraVolumes "extraVolumeMounts" $v.extraVolumeMounts "extraContainers" $v.extraContainers "initContainers" $v.initContainers "extraPorts" $v.extraPorts "extraObjects" $v.extraObjects "topologySpreadConstraints" $v.topologySpreadConstraints "keeper.extraEnv" $v.keeper.extraEnv "keeper.extraEnvFrom" $v.keeper.extraEnvFrom "networkPolicy.extraIngress" $v.networkPolicy.extraIngress "networkPolicy.extraEgress" $v.networkPolicy.extraEgress "autoscaling.keda.query" $v.autoscaling.keda.query "autoscaling.external.matchLabels" $v.autoscaling.external.matchLabels -}}
{{- /* What is filled in item by item; the others as a whole. */ -}}
{{- $apart := list "extraObjects" "autoscaling.external.matchLabels" -}}
{{- range $key, $value := $templated -}}
{{- range (ternary $value (list $value) (has $key $apart)) -}}
{{- $text := ternary . (toYaml .) (kindIs "string" .) -}}
{{- $problems = concat $problems (include "voice-agent.textProblems" (dict "key" $key "text" $text "values" $v) | fromJsonArray) -}}
{{- end -}}
{{- end -}}
{{- $problems | uniq | toJson -}}
{{- end -}}

{{/* Problems with the templates of `.text`, which is in the value `.key`. */}}
{{- define "voice-agent.textProblems" -}}
{{- $problems := list -}}
{{- $text := regexReplaceAll "(?s)[{][{](-\\s)?/[*].*?[*]/(\\s-)?[}][}]" .text "" -}}
{{- if regexMatch "[{][{]([^}]|[}][^}])*[}]?$" $text -}}
{{- $problems = append $problems (printf "%s opens a template by {{ and does not close it. Write }} at its end, or {{ `{{` }} for two braces that are meant." .key) -}}
{{- else -}}
{{- /* Without what is quoted, where nothing is looked up. */ -}}
{{- $quoted := "\"(\\\\.|[^\"\\\\])*\"|`[^`]*`" -}}
{{- $actions := list -}}
{{- $opened := 0 -}}
{{- $ended := 0 -}}
{{- range regexFindAll (printf "[{][{]((%s)|[^}\"`]|[}][^}\"`])*[}][}]" $quoted) $text -1 -}}
{{- $action := regexReplaceAll $quoted . "\"\"" -}}
{{- $actions = append $actions $action -}}
{{- if regexMatch "^[{][{]-?\\s*(if|with|range|define|block)\\b" $action -}}
{{- $opened = add1 $opened -}}
{{- else if regexMatch "^[{][{]-?\\s*end\\b" $action -}}
{{- $ended = add1 $ended -}}
{{- else if regexMatch "^[{][{]-?\\s*-?[}][}]$" $action -}}
{{- $problems = append $problems (printf "%s has a template with nothing in it, %s. Leave it out, or write {{ `%s` }} for braces that are meant." $.key $action $action) -}}
{{- end -}}
{{- end -}}
{{- if ne (int $opened) (int $ended) -}}
{{- $problems = append $problems (printf "%s has %d of if, with, range and define in its templates, and %d of end. Write {{ end }} once for each." .key (int $opened) (int $ended)) -}}
{{- end -}}
{{- $all := join "\n" $actions -}}
{{- $set := regexFindAll "[$]\\w+(\\s*,\\s*[$]\\w+)?\\s*:=" $all -1 | join " " -}}
{{- range regexFindAll "[$]\\w+([.]\\w+)*" $all -1 | uniq -}}
{{- $name := regexFind "[$]\\w+" . -}}
{{- if not (regexFindAll "[$]\\w+" $set -1 | has $name) -}}
{{- $problems = append $problems (printf "%s uses %s in a template, which is not set there. Write {{ `{{ %s }}` }} for braces that another program is to read." $.key $name .) -}}
{{- end -}}
{{- end -}}
{{- range include "voice-agent.nowhere" (dict "actions" $actions "values" .values) | fromJsonArray -}}
{{- if hasPrefix ".Values." .reference -}}
{{- $problems = append $problems (printf "%s refers to %s, but the values have no %s to look into. Correct the name, or set that value." $.key .reference .missing) -}}
{{- else -}}
{{- $problems = append $problems (printf "%s refers to %s, but templates know no %s. Begin it with .Values, .Release or .Chart, or write {{ `{{ %s }}` }} for braces that another program is to read." $.key .reference .missing .reference) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{/*
What templates refer to below what is not there, and what of it is missing, as a JSON list: Go's templates stop there,
whatever default follows. Where a condition asks for just that first, nothing is said.
*/}}
{{- define "voice-agent.nowhere" -}}
{{- $nowhere := list -}}
{{- $conditions := list -}}
{{- range .actions -}}
{{- if regexMatch "\\b(if|with|range|and|or)\\b" . -}}
{{- $conditions = append $conditions . -}}
{{- end -}}
{{- end -}}
{{- $conditions = join "\n" $conditions -}}
{{- $all := join "\n" .actions -}}
{{- $references := regexFindAll "[.]Values([.][A-Za-z_]\\w*){2,}" $all -1 -}}
{{- /* Within these the dot is another. */ -}}
{{- if not (regexMatch "\\b(with|range|define|block)\\b" $all) -}}
{{- range regexFindAll "[\\s({|,=-][$]?([.][A-Za-z_]\\w*){2,}" $all -1 -}}
{{- $reference := regexReplaceAll "^.[$]?" . "" -}}
{{- if not (has (regexFind "\\w+" $reference) (list "Values" "Release" "Chart" "Capabilities" "Files" "Template" "Subcharts")) -}}
{{- $references = append $references $reference -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $reference := uniq $references -}}
{{- $at := dict "Values" $.values -}}
{{- $path := "" -}}
{{- $missing := "" -}}
{{- range $name := trimPrefix "." $reference | splitList "." | initial -}}
{{- $path = printf "%s.%s" $path $name -}}
{{- $at = ternary (get (ternary $at dict (kindIs "map" $at)) $name) nil (kindIs "map" $at) -}}
{{- if not (or $missing (kindIs "map" $at)) -}}
{{- $missing = $path -}}
{{- end -}}
{{- end -}}
{{- $asks := printf "%s([^.\\w]|$)|\\bhasKey\\b|\\b(if|and|or)\\b.*[$]\\w" (replace "." "[.]" $missing) -}}
{{- if and $missing (not (regexMatch $asks $conditions)) -}}
{{- $nowhere = append $nowhere (dict "reference" $reference "missing" $missing) -}}
{{- end -}}
{{- end -}}
{{- toJson $nowhere -}}
{{- end -}}
