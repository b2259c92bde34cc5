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
{{- /* Anything else is what a template made of it. */ -}}
{{- $maps := list -}}
{{- range $all -}}
{{- $maps = append $maps (kindIs "map" .) -}}
{{- end -}}
{{- if has false $maps -}}
{{- $problems = append $problems (printf "%s is no list of maps once its templates are filled in. Have them quoted: {{ VALUE | quote }}." $each.value) -}}
{{- else -}}
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
{{- end -}}
{{- toJson (concat $problems (include "voice-agent.containerProblems" . | fromJsonArray) (include "voice-agent.portProblems" . | fromJsonArray)) -}}
{{- end -}}

{{/* A list of maps, templated; empty where templates make something else of it. */}}
{{- define "voice-agent.filledIn" -}}
{{- $maps := list -}}
{{- range tpl (toYaml .list) .root | fromYamlArray -}}
{{- if kindIs "map" . -}}
{{- $maps = append $maps . -}}
{{- end -}}
{{- end -}}
{{- toJson $maps -}}
{{- end -}}

{{/* Problems with the pod's containers and what they mount. */}}
{{- define "voice-agent.containerProblems" -}}
{{- $problems := list -}}
{{- $names := list "worker" -}}
{{- $mounts := list (dict "by" "extraVolumeMounts" "mounts" (include "voice-agent.filledIn" (dict "root" . "list" .Values.extraVolumeMounts) | fromJsonArray)) -}}
{{- range $key := list "initContainers" "extraContainers" -}}
{{- range include "voice-agent.filledIn" (dict "root" $ "list" (get $.Values $key)) | fromJsonArray -}}
{{- $name := get . "name" -}}
{{- if has $name $names -}}
{{- $problems = append $problems (printf "%s has a container of the name %s, and the pod has another. Rename it." $key $name) -}}
{{- end -}}
{{- $names = append $names $name -}}
{{- $mounts = append $mounts (dict "by" (printf "%s: the container %s" $key $name) "mounts" (get . "volumeMounts")) -}}
{{- end -}}
{{- end -}}
{{- $volumes := list -}}
{{- range include "voice-agent.volumes" . | fromYamlArray -}}
{{- if kindIs "map" . -}}
{{- $volumes = append $volumes (get . "name") -}}
{{- end -}}
{{- end -}}
{{- range $each := $mounts -}}
{{- range (default list $each.mounts) -}}
{{- if not (has .name $volumes) -}}
{{- $problems = append $problems (printf "%s mounts the volume %s, which the pod has not. Add it to extraVolumes, or correct the name: there are %s." $each.by .name (join ", " $volumes)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{/* Problems with the ports of the worker's container. */}}
{{- define "voice-agent.portProblems" -}}
{{- $problems := list -}}
{{- $ports := list -}}
{{- if not .Values.command -}}
{{- $ports = list "named probes" "8080/TCP" "named metrics" "9090/TCP" -}}
{{- end -}}
{{- range include "voice-agent.filledIn" (dict "root" . "list" .Values.extraPorts) | fromJsonArray -}}
{{- $number := printf "%v/%s" .containerPort (default "TCP" .protocol) -}}
{{- $name := ternary (printf "named %s" .name) "" (hasKey . "name") -}}
{{- range compact (list $name $number) -}}
{{- if has . $ports -}}
{{- $problems = append $problems (printf "extraPorts has a port %s, and the container has another. Change it: ports of one container differ in name and in number." .) -}}
{{- end -}}
{{- $ports = append $ports . -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}
