{{/* Requests a second that all workers together may send to the providers in use. */}}
{{- define "withdrawals-worker.requestsPerSecond" -}}
{{- with .Values.settings }}
{{- $.Values.keda.requestsPerSecond | default (max .bluum.rateLimit .bluumAccounts.rateLimit .upvest.rateLimit) }}
{{- end }}
{{- end }}

{{/* The most workers that find work: a request is on its way for so many seconds, a worker holds
`prefetch` of them, and no more than the budget leave in a second. At least two, to stay up. */}}
{{- define "withdrawals-worker.mostReplicas" -}}
{{- $underway := mulf (include "withdrawals-worker.requestsPerSecond" . | float64) .Values.keda.answerSeconds }}
{{- max 2 (divf $underway .Values.settings.rabbitmq.prefetch | ceil | int) }}
{{- end }}
