{{/* Where GKE places the workers, and for how long. */}}

{{/* The operator's own selector wins. */}}
{{- define "voice-agent.workerNodeSelector" -}}
{{- $gke := dict -}}
{{- with .Values.gke.computeClass }}{{ $_ := set $gke "cloud.google.com/compute-class" . }}{{ end -}}
{{- if .Values.gke.spot }}{{ $_ := set $gke "cloud.google.com/gke-spot" "true" }}{{ end -}}
{{- with .Values.gke.arch }}{{ $_ := set $gke "kubernetes.io/arch" . }}{{ end -}}
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
{{- if $gke.extendedRunTime -}}
{{- if $isSpot -}}
{{- $problems = append $problems (printf "gke.extendedRunTime is true and %s, but no pod on a Spot node is kept. Either %s, or set gke.extendedRunTime=false." $spot $notSpot) -}}
{{- end -}}
{{- if $class -}}
{{- $problems = append $problems (printf "gke.extendedRunTime is true and %s %q, but GKE gives extended run time without a compute class only. Leave the class out, or set gke.extendedRunTime=false." (ternary "gke.computeClass is" "nodeSelector has cloud.google.com/compute-class" (ne (default "" $gke.computeClass) "")) $class) -}}
{{- end -}}
{{- if or .Values.affinity.podAffinity .Values.affinity.podAntiAffinity -}}
{{- $problems = append $problems "gke.extendedRunTime is true and affinity has podAffinity or podAntiAffinity, which GKE refuses together. Leave those out (topologySpreadConstraints spread pods too), or set gke.extendedRunTime=false." -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}
