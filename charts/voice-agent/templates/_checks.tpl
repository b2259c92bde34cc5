{{/*
Every check that looks at more than one value, or that a schema cannot say. All problems are collected and
reported at once; each names the key, its value and the fix.
*/}}
{{- define "voice-agent.problems" -}}
{{- $problems := list -}}
{{- $v := .Values -}}
{{- $credentials := include "voice-agent.credentials" . | fromJson -}}

{{- if not $v.livekit.url -}}
{{- $problems = append $problems "livekit.url is not set. Set it to your LiveKit server, for example wss://my-project.livekit.cloud." -}}
{{- else if not (regexMatch "^wss?://[^/?#\\s]+[^\\s]*$" $v.livekit.url) -}}
{{- $problems = append $problems (printf "livekit.url is %q, which is not a LiveKit URL. Begin it with wss:// (or ws:// inside the cluster)." $v.livekit.url) -}}
{{- end -}}

{{- if and $v.gemini.enabled $v.gemini.vertexai.enabled (not $v.gemini.vertexai.project) -}}
{{- $problems = append $problems "gemini.vertexai.project is not set, and Vertex AI needs one. Set it to the project ID whose Vertex AI the pods use." -}}
{{- end -}}
{{- if and $v.gemini.baseUrl (not (regexMatch "^https?://[^/?#\\s]+[^\\s]*$" $v.gemini.baseUrl)) -}}
{{- $problems = append $problems (printf "gemini.baseUrl is %q, which is not a URL. Begin it with https://, or empty it for Google's own endpoint." $v.gemini.baseUrl) -}}
{{- end -}}

{{- $grace := $v.drain.gracePeriodSeconds | int64 -}}
{{- $shutdown := include "voice-agent.shutdownSeconds" . | int64 -}}
{{- $timeout := include "voice-agent.drainTimeoutSeconds" . | int64 -}}
{{- /* What a command does about its end is its own. */ -}}
{{- if not $v.command -}}
{{- if kindIs "invalid" $v.drain.timeoutSeconds -}}
{{- if lt $grace $shutdown -}}
{{- $problems = append $problems (printf "drain.gracePeriodSeconds is %d, but ending a worker takes up to %d s after the last moment for its calls. Set it to at least %d plus the seconds that calls may go on." $grace $shutdown $shutdown) -}}
{{- end -}}
{{- else if gt (add $timeout $shutdown) $grace -}}
{{- $problems = append $problems (printf "drain.timeoutSeconds is %d, but drain.gracePeriodSeconds is %d and the last %d s of it are needed to end the worker: calls would be killed. Set drain.timeoutSeconds to at most %d (or leave it out), or drain.gracePeriodSeconds to at least %d." $timeout $grace $shutdown (max 0 (sub $grace $shutdown)) (add $timeout $shutdown)) -}}
{{- end -}}
{{- $finish := $v.drain.finishWithinSeconds | int64 -}}
{{- $handOver := include "voice-agent.handOverSeconds" . | int64 -}}
{{- $longer := ternary "drain.gracePeriodSeconds" "drain.timeoutSeconds" (kindIs "invalid" $v.drain.timeoutSeconds) -}}
{{- $more := ternary $shutdown (int64 0) (kindIs "invalid" $v.drain.timeoutSeconds) -}}
{{- $mostToFinish := max 0 (min (div $timeout 2) (sub $timeout $handOver)) -}}
{{- if and (ge $grace $shutdown) (gt $finish $mostToFinish) -}}
{{- $problems = append $problems (printf "drain.finishWithinSeconds is %d, but calls are cut after %d s, and half of that, %d s at least, is for handing them over. Set it to at most %d, or %s to at least %d." $finish $timeout $handOver $mostToFinish $longer (add $more (max (mul 2 $finish) (add $finish $handOver)))) -}}
{{- end -}}

{{- $preStop := include "voice-agent.preStopSeconds" . | int64 -}}
{{- if and $preStop (ge $grace $shutdown) (gt (add $preStop $timeout $shutdown) $grace) -}}
{{- $problems = append $problems (printf "lifecycle.preStop sleeps %d s of drain.gracePeriodSeconds, which is %d, before the drain begins: it would have to end after %d s, and calls would be killed. Leave lifecycle.preStop out (the worker needs none, and until it ends the pod takes new calls), or set drain.timeoutSeconds to %d and drain.gracePeriodSeconds to at least %d." $preStop $grace (max 0 (sub $grace (add $preStop $shutdown))) $timeout (add $preStop $timeout $shutdown)) -}}
{{- end -}}
{{- end -}}

{{- /* https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.37/#sleepaction-v1-core */ -}}
{{- range $name, $hook := default dict $v.lifecycle -}}
{{- $sleep := dig "sleep" "seconds" 0 (default dict $hook) | int64 -}}
{{- if and $sleep (ge $sleep $grace) -}}
{{- $problems = append $problems (printf "lifecycle.%s.sleep.seconds is %d, but drain.gracePeriodSeconds is %d, and Kubernetes accepts less than that. Set it to at most %d." $name $sleep $grace (sub $grace 1)) -}}
{{- end -}}
{{- end -}}

{{- $ports := include "voice-agent.extraPortNames" . | fromJsonArray -}}
{{- if not $v.command -}}
{{- $ports = append $ports "probes" -}}
{{- end -}}
{{- range $name, $probe := $v.probes -}}
{{- $handlers := include "voice-agent.handlers" $probe | fromJsonArray -}}
{{- if gt (len $handlers) 1 -}}
{{- $problems = append $problems (printf "probes.%s has the handlers %s; Kubernetes accepts one. Leave the others out." $name (join " and " $handlers)) -}}
{{- else if and $probe (not $handlers) (not (has "probes" $ports)) -}}
{{- $problems = append $problems (printf "command is %s, but probes.%s asks the image's own worker. Set probes.%s.httpGet, tcpSocket, exec or grpc to what your command answers, or probes.%s to false." (join " " $v.command | quote) $name $name $name) -}}
{{- end -}}
{{- end -}}

{{- if $v.state.valkey.enabled -}}
{{- if ne $v.state.store "redis" -}}
{{- $problems = append $problems (printf "state.valkey.enabled is true, but state.store is %s: nothing would use it. Set state.store=redis, or state.valkey.enabled=false." $v.state.store) -}}
{{- end -}}
{{- if $v.state.redis.url -}}
{{- $problems = append $problems (printf "state.valkey.enabled is true and state.redis.url is %q: keepers use one server. Empty state.redis.url, or set state.valkey.enabled=false." $v.state.redis.url) -}}
{{- end -}}
{{- if $v.state.redis.ca.secretName -}}
{{- $problems = append $problems (printf "state.redis.ca.secretName is %q, but the Valkey of state.valkey.enabled has no certificate. Empty it, or bring a server with TLS and name it in state.redis.url." $v.state.redis.ca.secretName) -}}
{{- end -}}
{{- if not $v.state.redis.existingSecret.name -}}
{{- $problems = append $problems (printf "state.valkey.enabled is true, but state.redis.existingSecret.name is not set, and Valkey needs a password. Make a Secret and name it there: kubectl -n %s create secret generic voice-agent-valkey --from-literal=%s=$(openssl rand -hex 32)" (include "voice-agent.namespace" .) $v.state.redis.existingSecret.passwordKey) -}}
{{- end -}}
{{- end -}}

{{- if eq $v.state.store "redis" -}}
{{- if not (or $v.state.redis.url $v.state.valkey.enabled) -}}
{{- $problems = append $problems "state.store is redis, but state.redis.url is not set. Set it to your server, for example rediss://redis.example.internal:6379, or set state.valkey.enabled=true, or state.store to memory." -}}
{{- else if and $v.state.redis.url (not (regexMatch "^(rediss?|sentinels?)://[^/?#\\s]+[^\\s]*$" $v.state.redis.url)) -}}
{{- $problems = append $problems (printf "state.redis.url is %q, which is not a server's URL. Begin it with redis://, rediss://, sentinel:// or sentinels://." $v.state.redis.url) -}}
{{- else if and $v.state.redis.url (regexMatch "//[^@]*:[^@]*@|[?&]password=" $v.state.redis.url) -}}
{{- $problems = append $problems "state.redis.url holds a password. Put it into a Secret and name that in state.redis.existingSecret.name." -}}
{{- end -}}
{{- if not (or $v.state.encryption.existingSecret.name (dig "STATE_KEYS" "resource" "" $credentials)) -}}
{{- $problems = append $problems (printf "state.store is redis, but state.encryption.existingSecret.name is not set: what callers say would be stored readable. Make a Secret and name it there: kubectl -n %s create secret generic voice-agent-state --from-literal=%s=$(openssl rand 32 | basenc --base64url)" (include "voice-agent.namespace" .) $v.state.encryption.existingSecret.key) -}}
{{- end -}}
{{- if not $v.keeper.enabled -}}
{{- $problems = append $problems "state.store is redis, but keeper.enabled is false, and only keepers use the store. Set keeper.enabled=true, or state.store to memory." -}}
{{- end -}}
{{- else if $v.state.redis.url -}}
{{- $problems = append $problems (printf "state.redis.url is %q, but state.store is %s: nothing would use it. Set state.store=redis, or empty state.redis.url." (regexReplaceAll "[?].*" (regexReplaceAll "//.*@" $v.state.redis.url "//") "") $v.state.store) -}}
{{- end -}}

{{- $pods := $v.replicas | int64 -}}
{{- $podsKey := "replicas" -}}
{{- if $v.autoscaling.enabled -}}
{{- $pods = $v.autoscaling.minReplicas | int64 -}}
{{- $podsKey = "autoscaling.minReplicas" -}}
{{- if gt $pods ($v.autoscaling.maxReplicas | int64) -}}
{{- $problems = append $problems (printf "autoscaling.minReplicas is %d and autoscaling.maxReplicas is %d. Set the maximum to at least the minimum." $pods ($v.autoscaling.maxReplicas | int64)) -}}
{{- end -}}
{{- if and (eq $v.autoscaling.mode "cpu") (not (dig "requests" "cpu" "" $v.resources)) -}}
{{- $problems = append $problems "autoscaling.enabled is true, but resources.requests.cpu is not set, and the autoscaler measures CPU as a share of it. Set resources.requests.cpu, or autoscaling.enabled=false." -}}
{{- end -}}
{{- end -}}
{{- $problems = concat $problems (include "voice-agent.callScalingProblems" . | fromJsonArray) (include "voice-agent.monitoringProblems" . | fromJsonArray) -}}

{{- $pdb := $v.podDisruptionBudget -}}
{{- if $pdb.enabled -}}
{{- $min := $pdb.minAvailable -}}
{{- $max := $pdb.maxUnavailable -}}
{{- $minSet := not (or (kindIs "invalid" $min) (eq (toString $min) "")) -}}
{{- $maxSet := not (or (kindIs "invalid" $max) (eq (toString $max) "")) -}}
{{- if and $minSet $maxSet -}}
{{- $problems = append $problems (printf "podDisruptionBudget.minAvailable is %v and podDisruptionBudget.maxUnavailable is %v; Kubernetes accepts one. Set the other to \"\"." $min $max) -}}
{{- else if not (or $minSet $maxSet) -}}
{{- $problems = append $problems "podDisruptionBudget.enabled is true, but neither minAvailable nor maxUnavailable is set. Set podDisruptionBudget.maxUnavailable, for example to 1." -}}
{{- else if and $minSet (gt $pods 0) (ge (include "voice-agent.shareOf" (dict "share" $min "pods" $pods) | int64) $pods) -}}
{{- $problems = append $problems (printf "podDisruptionBudget.minAvailable is %v and %s is %d: with so many pods none could be evicted, and node drains would hang. Set minAvailable to fewer than %d, or use maxUnavailable." $min $podsKey $pods $pods) -}}
{{- else if and $maxSet (has (toString $max) (list "0" "0%")) -}}
{{- $problems = append $problems (printf "podDisruptionBudget.maxUnavailable is %v: no pod could ever be evicted, and node drains would hang. Set it to at least 1." $max) -}}
{{- end -}}
{{- end -}}

{{- if and (eq $v.telemetry.traces.exporter "otlp") (not $v.telemetry.traces.otlpEndpoint) -}}
{{- $problems = append $problems "telemetry.traces.exporter is otlp, but telemetry.traces.otlpEndpoint is not set. Set it to your collector, for example http://otel-collector.monitoring:4318, or set the exporter to none." -}}
{{- else if and $v.telemetry.traces.otlpEndpoint (not (regexMatch "^https?://[^/?#\\s]+[^\\s]*$" $v.telemetry.traces.otlpEndpoint)) -}}
{{- $problems = append $problems (printf "telemetry.traces.otlpEndpoint is %q, which is not a URL. Begin it with http:// or https://, for example http://otel-collector.monitoring:4318." $v.telemetry.traces.otlpEndpoint) -}}
{{- end -}}
{{- if and (not $v.serviceAccount.create) $v.serviceAccount.workloadIdentity.gcpServiceAccount -}}
{{- $problems = append $problems (printf "serviceAccount.workloadIdentity.gcpServiceAccount is %q, but serviceAccount.create is false, so there is nothing to annotate. Annotate your own ServiceAccount, or set serviceAccount.create=true." $v.serviceAccount.workloadIdentity.gcpServiceAccount) -}}
{{- end -}}
{{- range list "voice-agent.removedProblems" "voice-agent.nameProblems" "voice-agent.podProblems" "voice-agent.extraProblems" "voice-agent.gkeProblems" "voice-agent.secretProblems" -}}
{{- $problems = concat $problems (include . $ | fromJsonArray) -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{/* How many pods a number or a percentage is; a part of a pod counts as one, as in a PodDisruptionBudget. */}}
{{- define "voice-agent.shareOf" -}}
{{- $share := toString .share -}}
{{- if hasSuffix "%" $share -}}
{{- divf (mulf (trimSuffix "%" $share | float64) .pods) 100 | ceil | int64 -}}
{{- else -}}
{{- int64 .share -}}
{{- end -}}
{{- end -}}

{{- define "voice-agent.check" -}}
{{- /* First: the other checks fill templates in. */ -}}
{{- include "voice-agent.checkTemplates" . -}}
{{- include "voice-agent.refuse" (include "voice-agent.problems" . | fromJsonArray) -}}
{{- end -}}

{{/* For whatever fills a template in: Helm may come to it before it comes to the other checks. */}}
{{- define "voice-agent.checkTemplates" -}}
{{- include "voice-agent.refuse" (include "voice-agent.templateProblems" . | fromJsonArray) -}}
{{- end -}}

{{- define "voice-agent.refuse" -}}
{{- if . -}}
{{- $count := len . -}}
{{- fail (printf "\n\n%s in the values:\n\n  * %s\n" (ternary "1 problem" (printf "%d problems" $count) (eq $count 1)) (join "\n  * " .)) -}}
{{- end -}}
{{- end -}}
