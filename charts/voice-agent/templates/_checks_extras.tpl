{{/* Problems with what `extraEnv` and the like add to what the chart makes itself, as a JSON list. */}}
{{- define "voice-agent.extraProblems" -}}
{{- $problems := list -}}
{{- $v := .Values -}}
{{- $lists := list
  (dict "value" "extraEnv" "by" "name" "added" $v.extraEnv "all" (include "voice-agent.env" .))
  (dict "value" "extraVolumes" "by" "name" "added" $v.extraVolumes "all" (include "voice-agent.volumes" .))
  (dict "value" "extraVolumeMounts" "by" "mountPath" "added" $v.extraVolumeMounts "all" (include "voice-agent.volumeMounts" .)) -}}
{{- if $v.keeper.enabled -}}
{{- $lists = append $lists (dict "value" "keeper.extraEnv" "by" "name" "added" $v.keeper.extraEnv "all" (include "voice-agent.keeperEnv" .)) -}}
{{- end -}}
{{- $credentials := include "voice-agent.credentials" . | fromJson -}}
{{- range $each := $lists -}}
{{- $all := $each.all | fromYamlArray -}}
{{- $ours := list -}}
{{- range slice $all 0 (sub (len $all) (len $each.added) | int) -}}
{{- $ours = append $ours (get . $each.by) -}}
{{- end -}}
{{- $seen := list -}}
{{- range slice $all (len $ours) -}}
{{- $name := get . $each.by -}}
{{- $stem := trimSuffix "_FILE" $name -}}
{{- $other := ternary $stem (printf "%s_FILE" $name) (hasSuffix "_FILE" $name) -}}
{{- if has $name $ours -}}
{{- $problems = append $problems (printf "%s sets %s, which the chart sets itself, and no two may be alike. Leave it out, and use the chart's own value for it." $each.value $name) -}}
{{- else if has $name $seen -}}
{{- $problems = append $problems (printf "%s sets %s twice. Leave one of them out." $each.value $name) -}}
{{- else if and (hasKey $credentials $stem) (has $other $ours) -}}
{{- $problems = append $problems (printf "%s sets %s, and the chart sets %s: pods read one. Leave it out, or empty the chart's own value for it." $each.value $name $other) -}}
{{- else if and (eq $each.value "extraEnv") $v.gemini.enabled (has $name (list "GOOGLE_API_KEY" "GEMINI_API_KEY")) -}}
{{- $problems = append $problems (printf "extraEnv sets %s beside the credentials of gemini.*: the worker uses one or the other. Leave it out and name the key's Secret in gemini.apiKey.existingSecret.name, or set gemini.enabled=false." $name) -}}
{{- end -}}
{{- $seen = append $seen $name -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}
