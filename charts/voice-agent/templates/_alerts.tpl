{{/* Alerts on what callers notice, or would. A backquoted action is Prometheus' own. */}}

{{- define "voice-agent.workerAlerts" -}}
{{- $workers := include "voice-agent.podMatchers" (dict "root" . "component" "worker") -}}
{{- $full := .Values.telemetry.metrics.rules.nearlyFullPercent | int64 -}}
- alert: VoiceAgentNoWorker
  expr: absent(voice_agent_registered{{ printf "{%s}" $workers }} == 1)
  for: 3m
  labels:
    severity: critical
  annotations:
    summary: No worker has registered with LiveKit.
    description: New calls find no agent.
    runbook: Look at the workers' pods and the first error in their logs, and run helm test. Are LiveKit's URL and key right, and is it reached?
- alert: VoiceAgentFleetNearlyFull
  expr: >-
    100 * sum(voice_agent_call_slots_taken{{ printf "{%s}" $workers }})
    / sum(voice_agent_call_slots{{ printf "{%s}" $workers }} unless voice_agent_draining{{ printf "{%s}" $workers }} == 1)
    > {{ $full }}
  for: 3m
  labels:
    severity: warning
  annotations:
    summary: More than {{ $full }} % of the slots are taken.
    description: {{ `{{ $value | printf "%.0f" }} % of the slots of pods that stay are taken. A call that finds no free slot gets no agent.` | quote }}
    runbook: Is the autoscaler at its maximum, and do new pods start? Raise autoscaling.maxReplicas, or lower the target it aims at.
- alert: VoiceAgentCallsCut
  expr: {{ include "voice-agent.happened" (dict "counter" "voice_agent_calls_total" "matchers" (printf "outcome=\"cut\",%s" $workers) "by" "pod") }}
  labels:
    severity: critical
  annotations:
    summary: A pod that had to go cut calls.
    description: {{ `{{ $labels.pod }} cut calls at the deadline of its drain: no other pod had taken them. The keepers, if there are any, have them taken up.` | quote }}
    runbook: Were there free slots in other pods? Look for handovers that failed in the pod's logs; drain.gracePeriodSeconds may be too short.
- alert: VoiceAgentCallProcessDied
  expr: {{ include "voice-agent.happened" (dict "counter" "voice_agent_calls_total" "matchers" (printf "outcome=\"failed\",%s" $workers) "by" "pod") }}
  labels:
    severity: warning
  annotations:
    summary: The process of a call died.
    description: {{ `In {{ $labels.pod }} processes of live calls died. The keepers, if there are any, have the calls taken up.` | quote }}
    runbook: Look into the pod's logs for the traceback, or for memory beyond agent.callMemoryLimitMiB.
- alert: VoiceAgentHandoverGivenUp
  expr: {{ include "voice-agent.happened" (dict "counter" "voice_agent_handovers_total" "matchers" (printf "result=\"given_up\",%s" $workers) "by" "pod") }}
  labels:
    severity: warning
  annotations:
    summary: A call could not be handed over.
    description: {{ `{{ $labels.pod }} found no pod that took a call before the deadline of its drain.` | quote }}
    runbook: Were there free slots in other pods, and were those of this version or newer? Look for the handover's spans and log lines.
- alert: VoiceAgentConversationBeganAnew
  expr: {{ include "voice-agent.happened" (dict "counter" "voice_agent_restores_total" "matchers" (printf "result=\"fresh\",%s" $workers) "by" "kind, reason") }}
  labels:
    severity: warning
  annotations:
    summary: A caller had to begin anew.
    description: {{ `A call was taken up without its conversation, by {{ $labels.kind }}; the reason: {{ $labels.reason }}.` | quote }}
    runbook: unknown_key means that a pod lacks a key of state.encryption; none_kept that keepers and store had no snapshot; no_keeper_url that the worker knows no keeper; newer that an older version took the call; fatal that five agents in a row died while they restored it; broken is a defect.
{{- end -}}

{{- define "voice-agent.geminiAlerts" -}}
{{- $workers := include "voice-agent.podMatchers" (dict "root" . "component" "worker") -}}
- alert: VoiceAgentGeminiLost
  expr: {{ include "voice-agent.happened" (dict "counter" "voice_agent_gemini_lost_total" "matchers" $workers) }}
  labels:
    severity: critical
  annotations:
    summary: Agents left their calls because Gemini could not be talked to again.
    description: The connection to Gemini ended, and no other could be made. Where another pod can, the keepers have it take the call up.
    runbook: Look at Gemini's status, quota and credentials; helm test asks for a session. What ended the connections is the label reason of voice_agent_gemini_reconnects_total.
- alert: VoiceAgentPodWithoutGemini
  expr: voice_agent_gemini_missing{{ printf "{%s}" $workers }} == 1
  for: 5m
  labels:
    severity: warning
  annotations:
    summary: A pod has had no session with Gemini since its start.
    description: {{ `{{ $labels.pod }} is not ready, and takes no call that another pod has or had.` | quote }}
    runbook: Its log tells whether Gemini refuses it or does not answer. Look at the key or the pod's identity, GEMINI_MODEL and GEMINI_VOICE, at what the network lets it reach, and at the quota of sessions.
{{- end -}}

{{- define "voice-agent.keeperAlerts" -}}
{{- $keepers := include "voice-agent.podMatchers" (dict "root" . "component" "keeper") -}}
- alert: VoiceAgentNoKeeperLeads
  expr: sum(voice_agent_keeper_leading{{ printf "{%s}" $keepers }}) < 1 or absent(voice_agent_keeper_leading{{ printf "{%s}" $keepers }})
  for: 2m
  labels:
    severity: critical
  annotations:
    summary: No keeper leads.
    description: Calls go on, but those of a pod or node that dies are not taken up.
    runbook: Do the keepers' pods run, and may they write their Lease (keeper.rbac.create)? Their logs say why it cannot be renewed.
- alert: VoiceAgentRecoveryGivenUp
  expr: {{ include "voice-agent.happened" (dict "counter" "voice_agent_keeper_recoveries_total" "matchers" (printf "result=\"given_up\",%s" $keepers)) }}
  labels:
    severity: critical
  annotations:
    summary: A caller waited in vain for another agent.
    description: The agent of a call was gone, and no other came while the caller waited.
    runbook: Were there free slots? Look for the room in the logs of the keeper that leads, and whether LiveKit's API could be reached.
- alert: VoiceAgentCallersUnanswered
  expr: {{ include "voice-agent.happened" (dict "counter" "voice_agent_keeper_found_total" "matchers" (printf "why=\"unanswered\",%s" $keepers)) }}
  labels:
    severity: critical
  annotations:
    summary: Callers found no free slot.
    description: No pod took their calls. The keepers have them answered as soon as there is a free slot.
    runbook: Compare voice_agent_call_slots_taken with voice_agent_call_slots, and raise autoscaling.minReplicas or autoscaling.maxReplicas, or lower the target the autoscaler aims at.
{{- end -}}
