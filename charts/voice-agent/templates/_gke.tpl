{{/* Where GKE places the workers, and for how long. */}}

{{/* What `gke` selects nodes by, as a JSON map of labels, each with its value and the key that asks for it. */}}
{{- define "voice-agent.gkeNodes" -}}
{{- $labels := dict -}}
{{- with .Values.gke.computeClass }}{{ $_ := set $labels "cloud.google.com/compute-class" (dict "value" . "by" "gke.computeClass") }}{{ end -}}
{{- if .Values.gke.spot }}{{ $_ := set $labels "cloud.google.com/gke-spot" (dict "value" "true" "by" "gke.spot") }}{{ end -}}
{{- with .Values.gke.arch }}{{ $_ := set $labels "kubernetes.io/arch" (dict "value" . "by" "gke.arch") }}{{ end -}}
{{- toJson $labels -}}
{{- end -}}

{{- define "voice-agent.workerNodeSelector" -}}
{{- $gke := dict -}}
{{- range $label, $each := include "voice-agent.gkeNodes" . | fromJson }}{{ $_ := set $gke $label $each.value }}{{ end -}}
{{- with merge (dict) .Values.nodeSelector $gke -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* Keepers run on any machine that their image, the workers', runs on. */}}
{{- define "voice-agent.keeperNodeSelector" -}}
{{- $arch := dict -}}
{{- with .Values.gke.arch }}{{ $_ := set $arch "kubernetes.io/arch" . }}{{ end -}}
{{- with merge (dict) .Values.keeper.nodeSelector $arch -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{- define "voice-agent.workerPodAnnotations" -}}
{{- $gke := dict -}}
{{- if .Values.gke.extendedRunTime }}{{ $_ := set $gke "cluster-autoscaler.kubernetes.io/safe-to-evict" "false" }}{{ end -}}
{{- $credentials := include "voice-agent.credentialsChecksum" (dict "root" . "reader" "worker") | default "{}" | fromJson -}}
{{- with merge (dict) .Values.podAnnotations $gke $credentials -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* Problems with how GKE is used, as a JSON list. */}}
{{- define "voice-agent.gkeProblems" -}}
{{- $problems := list -}}
{{- $gke := .Values.gke -}}
{{- $selector := include "voice-agent.workerNodeSelector" . | fromYaml -}}
{{- $spot := ternary "gke.spot is true" "nodeSelector has cloud.google.com/gke-spot" $gke.spot -}}
{{- $notSpot := ternary "set gke.spot=false" "take that out of nodeSelector" $gke.spot -}}
{{- $isSpot := eq (default "" (get $selector "cloud.google.com/gke-spot")) "true" -}}
{{- $class := default "" (get $selector "cloud.google.com/compute-class") -}}
{{- $grace := .Values.drain.gracePeriodSeconds | int64 -}}
{{- if and $isSpot (gt $grace 25) -}}
{{- $problems = append $problems (printf "%s and drain.gracePeriodSeconds is %d, but a pod on a Spot node is killed after 25 s. Set drain.gracePeriodSeconds to 25 and drain.finishWithinSeconds to at most 3, or %s." $spot $grace $notSpot) -}}
{{- end -}}
{{- range $label, $each := include "voice-agent.gkeNodes" . | fromJson -}}
{{- $own := get $.Values.nodeSelector $label -}}
{{- if and $own (ne $own $each.value) -}}
{{- $problems = append $problems (printf "%s asks for nodes with %s %q, and nodeSelector has %q. Leave one of them out." $each.by $label $each.value $own) -}}
{{- end -}}
{{- end -}}
{{- $kept := "cluster-autoscaler.kubernetes.io/safe-to-evict" -}}
{{- $annotated := default "" (get .Values.podAnnotations $kept) -}}
{{- if and $gke.extendedRunTime $annotated (ne $annotated "false") -}}
{{- $problems = append $problems (printf "gke.extendedRunTime is true and podAnnotations has %s %q, which takes it back. Leave the annotation out, or set gke.extendedRunTime=false." $kept $annotated) -}}
{{- end -}}
{{- if or $gke.extendedRunTime (eq $annotated "false") -}}
{{- $extended := ternary "gke.extendedRunTime is true" (printf "podAnnotations has %s \"false\"" $kept) $gke.extendedRunTime -}}
{{- $notExtended := ternary "set gke.extendedRunTime=false" "take that out of podAnnotations" $gke.extendedRunTime -}}
{{- if $isSpot -}}
{{- $problems = append $problems (printf "%s and %s, but no pod on a Spot node is kept. Either %s, or %s." $extended $spot $notSpot $notExtended) -}}
{{- end -}}
{{- if $class -}}
{{- $problems = append $problems (printf "%s and %s %q, but GKE gives extended run time without a compute class only. Leave the class out, or %s." $extended (ternary "gke.computeClass is" "nodeSelector has cloud.google.com/compute-class" (ne (default "" $gke.computeClass) "")) $class $notExtended) -}}
{{- end -}}
{{- if or .Values.affinity.podAffinity .Values.affinity.podAntiAffinity -}}
{{- $problems = append $problems (printf "%s and affinity has podAffinity or podAntiAffinity, which GKE refuses together. Leave those out (topologySpreadConstraints spread pods too), or %s." $extended $notExtended) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}
